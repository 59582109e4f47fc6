"""What `Authorization` claims: a token in one of two schemes, or nothing that is ours to read."""

import pytest

from auth import presented


@pytest.mark.parametrize(
    ("value", "scheme"),
    [
        (b"Bearer a.b.c", "Bearer"),
        (b"bearer a.b.c", "Bearer"),
        (b"DPoP a.b.c", "DPoP"),
        (b"dPoP a.b.c", "DPoP"),
    ],
)
def test_a_scheme_is_told_in_any_case(value: bytes, scheme: str) -> None:
    """RFC 9110 has schemes in any case of letters, and tokens as they are."""
    found = presented.find(value, b"p", signed=False)
    assert found is not None
    assert (found.scheme, found.access_token, found.proof) == (scheme, b"a.b.c", b"p")


@pytest.mark.parametrize("value", [b"Basic a", b"Bearers a", b"", b"a.b.c", b" Bearer a", b"Bearer\ta"])
def test_another_scheme_claims_nothing_here(value: bytes) -> None:
    """It is neither believed nor refused."""
    assert presented.find(value, None, signed=False) is None


@pytest.mark.parametrize(
    "value",
    [
        b"Bearer",
        b"Bearer ",
        b"Bearer  a",
        b"Bearer a ",
        b"Bearer a,b",
        b"Bearer a b",
        b'Bearer "a"',
        b"DPoP \xff",
    ],
)
def test_what_can_be_no_token_is_presented_as_none(value: bytes) -> None:
    """Whoever says that there is a token has said so: it is refused as one, and not taken for nobody."""
    found = presented.find(value, None, signed=False)
    assert found is not None
    assert found.access_token == b""


def test_a_token_is_not_looked_at_past_its_size() -> None:
    """8 KiB, and not a byte more."""
    for size, kept in ((presented.LARGEST, True), (presented.LARGEST + 1, False)):
        found = presented.find(b"Bearer " + b"a" * size, None, signed=False)
        assert found is not None
        assert bool(found.access_token) is kept


def test_it_shows_nothing_of_itself() -> None:
    """A value that ends up in a log by accident tells no token."""
    found = presented.find(b"Bearer s3cret", b"proof", signed=False)
    assert repr(found) == "Presented(Bearer)"
