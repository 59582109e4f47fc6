"""No two requests share a string to sign."""

import hashlib
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from auth import canonical

line = st.text(st.characters(min_codepoint=1, max_codepoint=127, exclude_characters="\n"), max_size=20)
line_of_bytes = st.binary(max_size=20).map(lambda raw: raw.replace(b"\n", b""))


class Request(NamedTuple):
    timestamp: str
    nonce: str
    key_id: str
    method: str
    path: bytes
    query: bytes
    body_sha256_hex: str


requests = st.builds(
    Request,
    line,
    line,
    line,
    line,
    line_of_bytes,
    line_of_bytes,
    st.binary(max_size=8).map(lambda body: hashlib.sha256(body).hexdigest()),
)


@given(requests)
def test_the_fields_can_be_read_back(request: Request) -> None:
    """The split is unique, so a signature covers exactly these fields in exactly these places."""
    label, *fields = canonical.string_to_sign(*request).split(b"\n")
    expected = [field.encode() if isinstance(field, str) else field for field in request]
    assert label == b"PORTREEVE1"
    assert fields == expected


@given(requests, requests)
def test_different_requests_have_different_strings(one: Request, other: Request) -> None:
    """Equal strings come from equal requests only."""
    same_string = canonical.string_to_sign(*one) == canonical.string_to_sign(*other)
    assert same_string == (one == other)


@given(requests, st.integers(0, 5), st.integers(0, 5))
def test_moving_a_field_changes_the_string(request: Request, left: int, right: int) -> None:
    """Two fields that swap their values are seen, unless the values are the same."""
    as_bytes = [field.encode() if isinstance(field, str) else field for field in request]
    swapped = list(as_bytes)
    swapped[left], swapped[right] = swapped[right], swapped[left]
    texts = [field.decode("latin-1") for field in swapped]
    if not all(text.isascii() for text in texts[:4]):
        return
    other = Request(texts[0], texts[1], texts[2], texts[3], swapped[4], swapped[5], request.body_sha256_hex)
    same_string = canonical.string_to_sign(*request) == canonical.string_to_sign(*other)
    assert same_string == (as_bytes == swapped)
