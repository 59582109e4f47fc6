import pytest

from keys import format as key_format
from keys.format import MalformedKeyId, MalformedSecret


def test_a_key_id_has_the_documented_shape() -> None:
    """prk, the environment, 22 digits and six digits of check."""
    minted = key_format.mint_key_id("live", bytes(15) + b"\x3e")
    assert minted.startswith("prk_live_0000000000000000000010")
    assert len(minted) == len("prk_live_") + 22 + 6
    assert key_format.parse_key_id(minted) == "live"


def test_a_secret_has_the_documented_shape() -> None:
    """prs, the environment, 43 digits and six digits of check."""
    minted = key_format.mint_secret("paper", b"\xff" * 32).reveal()
    assert len(minted) == len("prs_paper_") + 43 + 6
    assert key_format.parse_secret(minted) == "paper"


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_entropy_of_another_size_is_refused(size: int) -> None:
    """A key id is never minted from fewer or more random bytes than it holds."""
    with pytest.raises(ValueError, match="16 bytes of entropy"):
        key_format.mint_key_id("paper", bytes(size))


def test_a_key_id_is_not_a_secret_and_back() -> None:
    """One prefix is never read as the other."""
    with pytest.raises(MalformedSecret):
        key_format.parse_secret(key_format.mint_key_id("paper", bytes(16)))
    with pytest.raises(MalformedKeyId):
        key_format.parse_key_id(key_format.mint_secret("paper", bytes(32)).reveal())


@pytest.mark.parametrize("spoil", ["{}\n", " {}", "{} ", "{}0", "\x00{}"])
def test_surroundings_are_refused(spoil: str) -> None:
    """A newline, a space or a further letter beside a key id makes it none."""
    minted = key_format.mint_key_id("paper", bytes(16))
    with pytest.raises(MalformedKeyId):
        key_format.parse_key_id(spoil.format(minted))


def test_digits_of_other_scripts_are_refused() -> None:
    """An Arabic-Indic zero is no base62 digit, although Unicode calls it a digit."""
    minted = key_format.mint_key_id("paper", bytes(16))
    with pytest.raises(MalformedKeyId):
        key_format.parse_key_id(minted.replace("0", "\u0660", 1))


def test_the_environment_is_under_the_check() -> None:
    """A paper id does not become a live one by changing the word."""
    minted = key_format.mint_key_id("paper", bytes(16))
    with pytest.raises(MalformedKeyId):
        key_format.parse_key_id(minted.replace("paper", "live"))


def test_a_check_beyond_32_bits_is_refused() -> None:
    """Six digits hold more than 32 bits; the second spelling of a check is no check."""
    minted = key_format.mint_key_id("paper", bytes(16))
    value = 0
    for digit in minted[-6:]:
        value = value * 62 + key_format.ALPHABET.index(digit)
    other, spelled = value + 2**32, ""
    for _ in range(6):
        other, digit_value = divmod(other, 62)
        spelled = key_format.ALPHABET[digit_value] + spelled
    with pytest.raises(MalformedKeyId):
        key_format.parse_key_id(minted[:-6] + spelled)


def test_a_refused_secret_is_not_repeated() -> None:
    """The error about a mistyped secret carries none of its letters."""
    minted = key_format.mint_secret("paper", bytes(range(32))).reveal()
    with pytest.raises(MalformedSecret) as caught:
        key_format.parse_secret(minted[:-1])
    assert minted[10:20] not in str(caught.value)
