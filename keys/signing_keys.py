"""Our own signing keys as bytes, as key objects and as public JWKs, for each algorithm that a ring may have. Pure.

Invariant: a key is its 32 secret bytes and its algorithm, and everything else is derived from them: the same bytes
always have the same id, the thumbprint (RFC 7638) of the public half. Refuses bytes that are no key of the algorithm.
"""

import base64
import hashlib
from collections.abc import Callable
from typing import Final, Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

Algorithm = Literal["EdDSA", "ES256"]
PrivateKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey
Jwk = dict[str, str]

_SIZE: Final = 32
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class NoSigningKey(ValueError):
    pass


def mint(algorithm: Algorithm, entropy: Callable[[int], bytes]) -> bytes:
    while True:
        raw = entropy(_SIZE)
        # For P-256 one draw in four thousand million is no scalar of the group, and is drawn again.
        if algorithm == "ES256" and not _is_scalar(raw):
            continue
        # People give an id to commands, which would take one that begins so for an option.
        if not public_jwk(from_bytes(algorithm, raw))["kid"].startswith("-"):
            return raw


def from_bytes(algorithm: Algorithm, raw: bytes) -> PrivateKey:
    if len(raw) != _SIZE or (algorithm == "ES256" and not _is_scalar(raw)):
        raise NoSigningKey(f"not the bytes of an {algorithm} key")
    if algorithm == "EdDSA":
        return Ed25519PrivateKey.from_private_bytes(raw)
    return ec.derive_private_key(int.from_bytes(raw), ec.SECP256R1())


def public_jwk(private_key: PrivateKey) -> Jwk:
    if isinstance(private_key, Ed25519PrivateKey):
        named = {"crv": "Ed25519", "kty": "OKP", "x": _base64url(private_key.public_key().public_bytes_raw())}
        algorithm = "EdDSA"
    else:
        point = private_key.public_key().public_numbers()
        x, y = (_base64url(each.to_bytes(_SIZE)) for each in (point.x, point.y))
        named, algorithm = {"crv": "P-256", "kty": "EC", "x": x, "y": y}, "ES256"
    return {**named, "kid": _thumbprint(named), "use": "sig", "alg": algorithm}


def derive(private_key: PrivateKey, label: bytes) -> bytes:
    """Another secret, for what `label` says: whoever has it knows nothing of the key."""
    if isinstance(private_key, Ed25519PrivateKey):
        raw = private_key.private_bytes_raw()
    else:
        raw = private_key.private_numbers().private_value.to_bytes(_SIZE)
    return HKDF(hashes.SHA256(), _SIZE, salt=None, info=label).derive(raw)


def _thumbprint(named: Jwk) -> str:
    # Exactly these members, in the order of their names and without any space. None of the values needs escaping.
    members = ",".join(f'"{name}":"{value}"' for name, value in sorted(named.items()))
    return _base64url(hashlib.sha256(f"{{{members}}}".encode()).digest())


def _is_scalar(raw: bytes) -> bool:
    return 0 < int.from_bytes(raw) < _P256_ORDER


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
