"""The string to sign, written out in full."""

import hashlib

import pytest

from auth import canonical

EMPTY = hashlib.sha256(b"").hexdigest()


def build(**changed: object) -> bytes:
    fields: dict[str, object] = {
        "timestamp": "1763596800123",
        "nonce": "k3J9s0Qe7Lx2Vb5N",
        "key_id": "prk_paper_x",
        "method": "GET",
        "path": b"/orders",
        "query": b"a=1",
        "body_sha256_hex": EMPTY,
    }
    return canonical.string_to_sign(**(fields | changed))  # type: ignore[arg-type]  # one bad field a test


def test_the_string_is_eight_lines_and_ends_without_one() -> None:
    """Label, timestamp, nonce, key, method, path, query and body hash, joined by single line feeds."""
    expected = f"PORTREEVE1\n1763596800123\nk3J9s0Qe7Lx2Vb5N\nprk_paper_x\nGET\n/orders\na=1\n{EMPTY}"
    assert build() == expected.encode()


def test_an_empty_query_leaves_an_empty_line() -> None:
    """Without a query its line stays, so that the lines after it keep their place."""
    assert build(query=b"").split(b"\n")[6:] == [b"", EMPTY.encode()]


def test_the_target_is_taken_byte_for_byte() -> None:
    """Nothing is decoded, re-encoded, sorted or cut again."""
    built = build(path=b"/a%2fb/\xff", query=b"b=2&a=%41&c=?\xfe")
    assert built.split(b"\n")[5:7] == [b"/a%2fb/\xff", b"b=2&a=%41&c=?\xfe"]


@pytest.mark.parametrize("field", ["timestamp", "nonce", "key_id", "method", "body_sha256_hex"])
def test_a_line_end_in_a_text_field_is_refused(field: str) -> None:
    """A line feed in a field could make one request read as another."""
    with pytest.raises(canonical.AmbiguousField):
        build(**{field: "a\nb"})


@pytest.mark.parametrize("field", ["path", "query"])
def test_a_line_end_in_the_target_is_refused(field: str) -> None:
    """The same for the parts that are bytes."""
    with pytest.raises(canonical.AmbiguousField):
        build(**{field: b"/a\nb"})
