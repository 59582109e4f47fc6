"""The string to sign, written out in full."""

import hashlib

import pytest

from auth import canonical
from tests.support import optional

EMPTY = hashlib.sha256(b"").hexdigest().encode()


@pytest.fixture(autouse=True, params=["interpreted", "compiled"])
def _either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One string, whoever writes it."""
    if request.param == "compiled":
        optional.require("compiled_room")
        assert canonical.string_to_sign is not canonical._string_to_sign
    else:
        monkeypatch.setattr(canonical, "string_to_sign", canonical._string_to_sign)


def build(**changed: bytes) -> bytes:
    fields = {
        "timestamp": b"1763596800123",
        "nonce": b"k3J9s0Qe7Lx2Vb5N",
        "key_id": b"prk_paper_x",
        "method": b"GET",
        "path": b"/orders",
        "query": b"a=1",
        "body_sha256_hex": EMPTY,
    }
    return canonical.string_to_sign(**(fields | changed))


def test_the_string_is_eight_lines_and_ends_without_one() -> None:
    """Label, timestamp, nonce, key, method, path, query and body hash, joined by single line feeds."""
    expected = b"PORTREEVE1\n1763596800123\nk3J9s0Qe7Lx2Vb5N\nprk_paper_x\nGET\n/orders\na=1\n"
    assert build() == expected + EMPTY


def test_an_empty_query_leaves_an_empty_line() -> None:
    """Without a query its line stays, so that the lines after it keep their place."""
    assert build(query=b"").split(b"\n")[6:] == [b"", EMPTY]


def test_the_target_is_taken_byte_for_byte() -> None:
    """Nothing is decoded, re-encoded, sorted or cut again."""
    built = build(path=b"/a%2fb/\xff", query=b"b=2&a=%41&c=?\xfe")
    assert built.split(b"\n")[5:7] == [b"/a%2fb/\xff", b"b=2&a=%41&c=?\xfe"]


@pytest.mark.parametrize(
    "field", ["timestamp", "nonce", "key_id", "method", "path", "query", "body_sha256_hex"]
)
def test_a_line_end_in_a_field_is_refused(field: str) -> None:
    """A line feed in a field could make one request read as another."""
    with pytest.raises(canonical.AmbiguousField):
        build(**{field: b"/a\nb"})


def test_what_stands_in_a_field_is_never_taken_for_a_place_of_another() -> None:
    """Fields are put in, not read again: a percent sign in one is a percent sign."""
    assert build(path=b"/%b%%", query=b"%b").split(b"\n")[5:7] == [b"/%b%%", b"%b"]
