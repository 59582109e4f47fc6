"""Signed messages: written again they are the same bytes, nothing near a right one passes, and no input crashes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth import dpop, jose
from tests.support import jws as written

KEYS: dict[written.Key, jose.VerificationKey] = {
    key: jose.parse_public_jwk(written.public_jwk(key)) for key in (written.P256, written.EDWARDS)
}
MESSAGES = {
    key: written.compact({"alg": public.algorithm, "typ": "at+jwt"}, {"jti": "a1", "exp": 5}, key)
    for key, public in KEYS.items()
}
CANONICAL = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(codec="utf-8"), max_size=8)
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner)
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), values, max_size=6))
def test_what_is_signed_is_what_is_read(claims: dict[str, Any]) -> None:
    """Whatever JSON can say comes back from its signed form, and the form from its parts."""
    signed = jose.sign({"typ": "at+jwt"}, claims, written.EDWARDS)
    read = jose.parse(signed)
    jose.verify(read, KEYS[written.EDWARDS])
    assert read.claims == claims
    assert f"{read.signing_input.decode()}.{jose.encode(read.signature)}" == signed


@pytest.mark.parametrize("key", KEYS)
@given(at=st.integers(0), letter=st.characters(max_codepoint=0x17F))
def test_one_changed_letter_is_refused(key: written.Key, at: int, letter: str) -> None:
    """Whatever a single letter is changed to, the message is refused."""
    right = MESSAGES[key]
    at %= len(right)
    changed = right[:at] + letter + right[at + 1 :]
    if changed != right:
        with pytest.raises((jose.MalformedJws, jose.BadJwsSignature)):
            jose.verify(jose.parse(changed), KEYS[key])


@pytest.mark.parametrize("key", KEYS)
@given(at=st.integers(0), put_in=st.text(min_size=1, max_size=4))
def test_nothing_can_be_put_in(key: written.Key, at: int, put_in: str) -> None:
    """Blanks, padding and anything else within, before or after a right message spoil it."""
    right = MESSAGES[key]
    at %= len(right) + 1
    with pytest.raises((jose.MalformedJws, jose.BadJwsSignature)):
        jose.verify(jose.parse(right[:at] + put_in + right[at:]), KEYS[key])


@given(st.text(max_size=200) | st.binary(max_size=200))
def test_nothing_crashes_the_reader(anything: str | bytes) -> None:
    """Text and bytes from anywhere are refused as malformed and as nothing else."""
    with pytest.raises(jose.MalformedJws):
        jose.parse(anything)


@given(st.binary(max_size=120), st.binary(max_size=120), st.binary(max_size=70))
def test_any_three_segments_are_read_or_refused(header: bytes, claims: bytes, signature: bytes) -> None:
    """Whatever the segments hold: an object with a text for its algorithm is read, all else is malformed."""
    message = ".".join(written.segment(part) for part in (header, claims, signature))
    try:
        read = jose.parse(message)
    except jose.MalformedJws:
        return
    assert isinstance(read.header["alg"], str)


@given(
    st.dictionaries(
        st.sampled_from(["kty", "crv", "x", "y", "n", "e", "alg", "use", "kid", "key_ops"]), values
    )
)
def test_no_key_crashes_the_reader(jwk: dict[str, Any]) -> None:
    """What is no key is refused as none and as nothing else."""
    with pytest.raises(jose.InvalidJwk):
        jose.parse_public_jwk(jwk)


@given(st.text(max_size=60))
def test_a_uri_is_written_in_one_way(text: str) -> None:
    """What has been normalised is normal, and what is no URI is refused."""
    for uri in (text, "https://host.example/" + text):
        try:
            once = dpop.normalise_uri(uri)
        except dpop.InvalidProof:
            continue
        assert dpop.normalise_uri(once) == once
