"""QR codes, module by module as another encoder draws them."""

import base64
import hashlib

import pytest

from gateway.pages import pictures

TEXT = "otpauth://totp/Portreeve:a%40b.example?secret=" + "JBSWY3DPEHPK3PXP" * 14


@pytest.mark.parametrize(
    ("length", "version", "digest"),
    [
        # Made with the package qrcode 8.2: correction M, mask 0, bytes. One size with each part of the format.
        (10, 1, "e8cd73f75a17026f7ce8d088678d14d5b3f27b0a2c79dc16826bd4e8903942b6"),
        (43, 4, "3c1f7f02a4e6be2cbec9e1ad6e9bc93d0957437db9061fb742e1b57ded9e8e4e"),
        (107, 7, "adf9672dbd3e9c5a49343b2a546802ec37df8c3c1fcbf1906b2785c0cd06914f"),
        (213, 10, "d97777f0fa5d72252ef6e586ff85587e8bcee0c732c8ae6651f1acf3674a1844"),
    ],
)
def test_a_code_is_drawn_as_others_draw_it(length: int, version: int, digest: str) -> None:
    """A camera reads what every encoder agrees on."""
    matrix = pictures.encode(TEXT[:length].encode())
    assert len(matrix) == 17 + 4 * version
    written = "\n".join("".join("01"[dark] for dark in row) for row in matrix)
    assert hashlib.sha256(written.encode()).hexdigest() == digest


def test_what_is_too_long_is_refused() -> None:
    """Half a key is worse than one to type."""
    with pytest.raises(pictures.TooLong):
        pictures.encode(b"x" * 214)


def test_a_picture_is_an_image_and_nothing_else() -> None:
    """It holds squares, and no text of anybody's."""
    head, _, encoded = pictures.draw("</svg><script>alert(1)</script>").partition(",")
    assert head == "data:image/svg+xml;base64"
    drawn = base64.b64decode(encoded)
    assert b"script" not in drawn
    assert drawn.startswith(b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 37 37"')
