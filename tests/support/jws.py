"""Keys and compact JWS for tests, written part by part, so that each part can be wrong on purpose."""

import hashlib
import json
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth import jose
from keys import signing_keys

Key = ec.EllipticCurvePrivateKey | Ed25519PrivateKey | rsa.RSAPrivateKey

P256: Final = ec.derive_private_key(0x1234_5678_9ABC_DEF0, ec.SECP256R1())
OTHER_P256: Final = ec.derive_private_key(0x0FED_CBA9_8765_4321, ec.SECP256R1())
EDWARDS: Final = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)


def segment(raw: bytes) -> str:
    return jose.encode(raw)


def write(value: object) -> str:
    return segment(value if isinstance(value, bytes) else json.dumps(value).encode())


def public_jwk(key: Key) -> dict[str, Any]:
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        n, e = numbers.n.to_bytes(key.key_size // 8), numbers.e.to_bytes(3)
        return {"kty": "RSA", "n": segment(n), "e": segment(e)}
    jwk = signing_keys.public_jwk(key)
    return {name: jwk[name] for name in ("kty", "crv", "x", "y") if name in jwk}


def raw_signature(key: Key, signing_input: bytes, algorithm: str = "PS256") -> bytes:
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(signing_input)
    if isinstance(key, rsa.RSAPrivateKey):
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        return key.sign(signing_input, pss if algorithm == "PS256" else padding.PKCS1v15(), hashes.SHA256())
    r, s = utils.decode_dss_signature(key.sign(signing_input, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32) + s.to_bytes(32)


def compact(header: object, claims: object, key: Key | bytes) -> str:
    """Signed by `key`; with bytes it is signed by HMAC, as one that takes a public key for a secret would."""
    signing_input = f"{write(header)}.{write(claims)}"
    if isinstance(key, bytes):
        keyed = hmac.HMAC(key, hashes.SHA256())
        keyed.update(signing_input.encode())
        return f"{signing_input}.{segment(keyed.finalize())}"
    algorithm = header.get("alg", "PS256") if isinstance(header, dict) else "PS256"
    return f"{signing_input}.{segment(raw_signature(key, signing_input.encode(), algorithm))}"


def hashed(text: str) -> str:
    return segment(hashlib.sha256(text.encode()).digest())


def proof(
    key: Key = P256,
    header: dict[str, Any] | None = None,
    **claims: Any,  # noqa: ANN401  any claim, wrong ones too
) -> str:
    """A DPoP proof. What is None is left out."""
    algorithm = {"EC": "ES256", "OKP": "EdDSA", "RSA": "PS256"}[public_jwk(key)["kty"]]
    whole = {"typ": "dpop+jwt", "alg": algorithm, "jwk": public_jwk(key), **(header or {})}
    return compact(_given(whole), _given(claims), key)


def _given(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
