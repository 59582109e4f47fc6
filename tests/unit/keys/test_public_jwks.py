"""Public keys of clients: what is one, and the one form in which it is kept."""

import base64
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt import api_jwk

from keys import public_jwks
from tests.support.oauth_clients import private_key, public_jwk

ALGORITHMS = ("ES256", "EdDSA", "PS256")


def number(value: int) -> str:
    raw = value.to_bytes((value.bit_length() + 7) // 8)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_fixes_its_algorithm(algorithm: str) -> None:
    """What is kept of it is read back as the same key, and says which algorithm it is for."""
    jwk = public_jwk(private_key(algorithm), kid="one")
    parsed = public_jwks.parse(jwk)
    assert (parsed.algorithm, parsed.kid, parsed.members["alg"]) == (algorithm, "one", algorithm)
    again = public_jwks.parse_serialised(parsed.serialise())
    assert again.serialise() == parsed.serialise()
    assert again.thumbprint == parsed.thumbprint


def test_a_thumbprint_is_that_of_the_standard() -> None:
    """The example of RFC 8037, appendix A.3."""
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert public_jwks.parse(jwk).thumbprint == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_what_nobody_needs_of_a_key_is_not_kept() -> None:
    """Two spellings of one key are one."""
    plain = public_jwks.parse(public_jwk(private_key()))
    decked = public_jwks.parse(
        public_jwk(private_key(), use="sig", key_ops=["verify"], x5c=["MII="], alg="ES256", remark="ours")
    )
    assert decked.serialise() == plain.serialise()


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"d": "c2VjcmV0LW51bWJlcg"}, id="private"),
        pytest.param({"k": "c2VjcmV0LW51bWJlcg"}, id="symmetric-too"),
        pytest.param({"kty": "oct"}, id="symmetric"),
        pytest.param({"use": "enc"}, id="encryption"),
        pytest.param({"key_ops": ["sign"]}, id="signing"),
        pytest.param({"key_ops": []}, id="no-operations"),
        pytest.param({"key_ops": "verify"}, id="operations-no-list"),
        pytest.param({"alg": "RS256"}, id="rs256"),
        pytest.param({"alg": "none"}, id="none"),
        pytest.param({"alg": "EdDSA"}, id="another-algorithm"),
        pytest.param({"alg": ["ES256"]}, id="several-algorithms"),
        pytest.param({"crv": "P-384"}, id="another-curve"),
        pytest.param({"crv": "secp256k1"}, id="a-curve-nobody-asked-for"),
        pytest.param({"x5u": "https://keys.example/"}, id="elsewhere"),
        pytest.param({"jku": "https://keys.example/"}, id="elsewhere-too"),
        pytest.param({"kid": "k" * 129}, id="long-kid"),
        pytest.param({"kid": "a b"}, id="kid-with-space"),
        pytest.param({"kid": 7}, id="kid-no-text"),
        pytest.param({"x": "AA"}, id="short"),
        pytest.param({"x": 7}, id="no-text"),
        pytest.param({"y": public_jwk(private_key())["x"]}, id="off-the-curve"),
        pytest.param({"y": public_jwk(private_key())["y"] + "="}, id="padded"),
        pytest.param(
            {"y": public_jwk(private_key())["y"].replace("-", "+").replace("_", "/") + "\n"}, id="spelt"
        ),
    ],
)
def test_what_is_no_public_key_for_signatures_is_refused(changed: dict[str, Any]) -> None:
    """And nothing of it is repeated: it may be somebody's private key."""
    with pytest.raises(public_jwks.InvalidJwk) as refused:
        public_jwks.parse(public_jwk(private_key()) | changed)
    assert "c2VjcmV0LW51bWJlcg" not in str(refused.value)


def test_a_number_has_one_spelling() -> None:
    """The last digit of base64url has spare bits: where they are set it is another text for the same bytes."""
    jwk = public_jwk(private_key())
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spelt = jwk["x"][:-1] + alphabet[alphabet.index(jwk["x"][-1]) + 1]
    with pytest.raises(public_jwks.InvalidJwk):
        public_jwks.parse(jwk | {"x": spelt})


@pytest.mark.parametrize(
    ("modulus", "exponent"),
    [
        pytest.param((1 << 2_046) + 1, 65_537, id="small"),
        pytest.param((1 << 4_096) + 1, 65_537, id="large"),
        pytest.param(1 << 2_047, 65_537, id="even"),
        pytest.param((1 << 2_047) + 1, 3, id="low-exponent"),
        pytest.param((1 << 2_047) + 1, 1, id="no-exponent"),
    ],
)
def test_an_rsa_key_is_of_a_size_that_nobody_factors(modulus: int, exponent: int) -> None:
    """FAPI 2.0 asks for 2048 bits; too many would cost us time with every assertion."""
    with pytest.raises(public_jwks.InvalidJwk):
        public_jwks.parse({"kty": "RSA", "n": number(modulus), "e": number(exponent)})


def test_a_point_of_small_order_is_refused() -> None:
    """Anybody can sign for it."""
    with pytest.raises(public_jwks.InvalidJwk):
        public_jwks.parse({"kty": "OKP", "crv": "Ed25519", "x": "AQ" + "A" * 41})


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"7", b"{}" + b" " * public_jwks.LARGEST])
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    """Whatever it is."""
    with pytest.raises(public_jwks.InvalidJwk):
        public_jwks.parse_serialised(text)


def test_of_a_set_the_keys_for_signatures_are_read() -> None:
    """Partners publish those for encryption beside them."""
    signing, sealing = public_jwk(private_key()), public_jwk(private_key(number=2), use="enc")
    assert [each.thumbprint for each in public_jwks.parse_set({"keys": [sealing, signing]})] == [
        public_jwks.parse(signing).thumbprint
    ]
    assert len(public_jwks.parse_set(signing)) == 1
    with pytest.raises(public_jwks.InvalidJwk):
        public_jwks.parse_set({"keys": 7})


def test_what_is_kept_is_a_key_to_others() -> None:
    """As a verifier reads it."""
    for _ in range(3):
        for key in (ec.generate_private_key(ec.SECP256R1()), private_key("EdDSA")):
            kept = msgspec.json.decode(public_jwks.parse(public_jwk(key)).serialise())
            assert api_jwk.PyJWK(kept).key == key.public_key()
    assert isinstance(private_key("PS256"), rsa.RSAPrivateKey)
