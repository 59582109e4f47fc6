"""No two requests share a string to sign."""

import hashlib
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from auth import canonical

line = st.binary(max_size=20).map(lambda raw: raw.replace(b"\n", b""))


class Request(NamedTuple):
    timestamp: bytes
    nonce: bytes
    key_id: bytes
    method: bytes
    path: bytes
    query: bytes
    body_sha256_hex: bytes


requests = st.builds(
    Request,
    line,
    line,
    line,
    line,
    line,
    line,
    st.binary(max_size=8).map(lambda body: hashlib.sha256(body).hexdigest().encode()),
)


@given(requests)
def test_the_fields_can_be_read_back(request: Request) -> None:
    """The split is unique, so a signature covers exactly these fields in exactly these places."""
    label, *fields = canonical.string_to_sign(*request).split(b"\n")
    assert label == b"PORTREEVE1"
    assert fields == list(request)


@given(requests, requests)
def test_different_requests_have_different_strings(one: Request, other: Request) -> None:
    """Equal strings come from equal requests only."""
    same_string = canonical.string_to_sign(*one) == canonical.string_to_sign(*other)
    assert same_string == (one == other)


@given(requests, st.integers(0, 5), st.integers(0, 5))
def test_moving_a_field_changes_the_string(request: Request, left: int, right: int) -> None:
    """Two fields that swap their values are seen, unless the values are the same."""
    swapped = list(request)
    swapped[left], swapped[right] = swapped[right], swapped[left]
    same_string = canonical.string_to_sign(*request) == canonical.string_to_sign(*swapped)
    assert same_string == (list(request) == swapped)
