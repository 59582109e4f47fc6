"""Keys of both algorithms: what is published is what verifies, and an id is a thumbprint."""

import itertools
import os
from typing import get_args

import jwt
import pytest

from keys import signing_keys
from keys.signing_keys import Algorithm


@pytest.mark.parametrize("algorithm", get_args(Algorithm))
def test_what_a_key_signs_its_jwk_verifies(algorithm: Algorithm) -> None:
    """A JWT library takes the published half as it stands."""
    private_key = signing_keys.from_bytes(algorithm, signing_keys.mint(algorithm, os.urandom))
    jwk = signing_keys.public_jwk(private_key)
    signed = jwt.encode({"sub": "acme"}, private_key, algorithm=jwk["alg"])
    assert jwt.decode(signed, jwt.PyJWK(jwk), algorithms=[algorithm]) == {"sub": "acme"}
    assert "d" not in jwk


def test_the_id_of_a_p256_key_is_its_thumbprint() -> None:
    """It is taken over crv, kty, x and y, in this order."""
    jwk = signing_keys.public_jwk(signing_keys.from_bytes("ES256", b"\x01" * 32))
    assert signing_keys._thumbprint({name: jwk[name] for name in ("y", "x", "kty", "crv")}) == jwk["kid"]
    assert jwk["kid"] == jwt.PyJWK(jwk).key_id


def test_bytes_that_are_no_scalar_are_drawn_again() -> None:
    """Zero and what lies past the order of the group are no private keys."""
    draws = itertools.chain([bytes(32), b"\xff" * 32, b"\x01" * 32])
    assert signing_keys.mint("ES256", lambda _: next(draws)) == b"\x01" * 32


def test_no_id_looks_like_an_option() -> None:
    """It can be given to a command as it stands."""
    seeds = (number.to_bytes(32) for number in itertools.count())
    minted = [signing_keys.mint("EdDSA", lambda _: next(seeds)) for _ in range(200)]
    assert int.from_bytes(minted[-1]) >= len(minted)
    ids = [signing_keys.public_jwk(signing_keys.from_bytes("EdDSA", raw))["kid"] for raw in minted]
    assert not [kid for kid in ids if kid.startswith("-")]


@pytest.mark.parametrize("raw", [b"", b"\x01" * 31, b"\x01" * 33, bytes(32)])
def test_other_bytes_are_no_key(raw: bytes) -> None:
    """What was sealed as a key opens as a key or not at all."""
    with pytest.raises(signing_keys.NoSigningKey):
        signing_keys.from_bytes("ES256", raw)
