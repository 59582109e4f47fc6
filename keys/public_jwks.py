"""The public keys of OAuth clients, brought as JSON Web Keys (RFC 7517), and the one form in which they are kept. Pure.

Invariant: what passes is a public key for signatures, of a kind and size that FAPI 2.0 allows, and fixes one algorithm:
nothing that a client sends later chooses it. It is kept as canonical JSON, without what nobody here needs; two
spellings of one key have one thumbprint (RFC 7638).
Refuses: private and symmetric keys, keys for encryption, and points and numbers that are no key. A refusal repeats
nothing of what was brought, which may be somebody's private key.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from keys import ed25519, refusals

Algorithm = Literal["ES256", "EdDSA", "PS256"]

LARGEST: Final = 8_192

_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
# Where they would have to be fetched from: keys come by value, or from the one address that the client has.
_ELSEWHERE: Final = frozenset({"x5u", "jku"})
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_KID: Final = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
_COORDINATE: Final = 32
_EXPONENT: Final = 65_537
_RSA_BITS: Final = (2_048, 4_096)
# What an `alg` member may say, by the algorithm that the key fixes.
_NAMES: Final = MappingProxyType[Algorithm, tuple[str, ...]](
    {"ES256": ("ES256",), "EdDSA": ("EdDSA", "Ed25519"), "PS256": ("PS256",)}
)


class InvalidJwk(refusals.InvalidRequest):
    field = "jwk"

    def __init__(self, why: str) -> None:
        super().__init__(f"not a public key that a client can have: {why}")


class PublicJwk(msgspec.Struct, frozen=True, kw_only=True):
    """`members`: all that is kept of it."""

    algorithm: Algorithm
    members: Mapping[str, str]
    kid: str | None

    @property
    def thumbprint(self) -> str:
        required = {name: value for name, value in self.members.items() if name not in {"alg", "kid"}}
        return _base64url(hashlib.sha256(msgspec.json.encode(required, order="sorted")).digest())

    def serialise(self) -> bytes:
        return msgspec.json.encode(dict(self.members), order="sorted")


def parse(jwk: object) -> PublicJwk:
    if not isinstance(jwk, Mapping):
        raise InvalidJwk("it is no JSON object")
    if not _PRIVATE.isdisjoint(jwk):
        raise InvalidJwk(
            "it is a private or a shared key: bring the public half alone, and make another pair"
        )
    if not _ELSEWHERE.isdisjoint(jwk):
        raise InvalidJwk("it refers to a key elsewhere")
    if jwk.get("use", "sig") != "sig" or not _verifies(jwk.get("key_ops")):
        raise InvalidJwk("it is not for signatures")
    algorithm, members = _parse_key(jwk)
    kid, named = jwk.get("kid"), jwk.get("alg")
    if kid is not None and not (isinstance(kid, str) and _KID.fullmatch(kid)):
        raise InvalidJwk("its kid is 1 to 128 visible characters of ASCII")
    if named is not None and named not in _NAMES[algorithm]:
        raise InvalidJwk(f"it is a key for {algorithm}, and its alg says something else")
    members |= {} if kid is None else {"kid": kid}
    return PublicJwk(algorithm=algorithm, members=MappingProxyType({**members, "alg": algorithm}), kid=kid)


def parse_serialised(content: bytes) -> PublicJwk:
    """One key, as JSON."""
    if len(content) > LARGEST:
        raise InvalidJwk("it is too large")
    try:
        return parse(msgspec.json.decode(content))
    except msgspec.DecodeError:
        raise InvalidJwk("it is not JSON") from None


def parse_set(content: object) -> tuple[PublicJwk, ...]:
    """The keys for signatures of a JWKS (`{"keys": […]}`) or one key alone; keys for encryption are left out."""
    listed = content.get("keys") if isinstance(content, Mapping) and "keys" in content else [content]
    if not isinstance(listed, list | tuple):
        raise InvalidJwk("the member keys of a JWKS is a list")
    return tuple(
        parse(each) for each in listed if not (isinstance(each, Mapping) and each.get("use") == "enc")
    )


def write(public_key: bytes) -> str:
    """The public key of any secret's version, to look at: a JSON Web Key as it is kept, an Ed25519 key in hex."""
    return public_key.hex() if len(public_key) == ed25519.SIZE else public_key.decode()


def _verifies(operations: object) -> bool:
    return operations is None or (isinstance(operations, list | tuple) and list(operations) == ["verify"])


def _parse_key(jwk: Mapping[str, Any]) -> tuple[Algorithm, dict[str, str]]:
    match jwk.get("kty"), jwk.get("crv"):
        case "EC", "P-256":
            x, y = _decode(jwk, "x", _COORDINATE), _decode(jwk, "y", _COORDINATE)
            _require_point(x, y)
            return "ES256", {"kty": "EC", "crv": "P-256", "x": jwk["x"], "y": jwk["y"]}
        case "OKP", "Ed25519":
            try:
                ed25519.validate_public_key(_decode(jwk, "x", ed25519.SIZE))
            except ed25519.InvalidPublicKey as cause:
                raise InvalidJwk(str(cause)) from cause
            return "EdDSA", {"kty": "OKP", "crv": "Ed25519", "x": jwk["x"]}
        case "RSA", _:
            _require_rsa(_decode(jwk, "n"), _decode(jwk, "e"))
            return "PS256", {"kty": "RSA", "n": jwk["n"], "e": jwk["e"]}
    raise InvalidJwk("it is neither of P-256, nor of Ed25519, nor RSA")


def _decode(jwk: Mapping[str, Any], name: str, size: int | None = None) -> bytes:
    """Of all spellings of the same bytes exactly one."""
    text = jwk.get(name)
    if not isinstance(text, str) or _BASE64URL.fullmatch(text) is None or len(text) > LARGEST:
        raise InvalidJwk(f"its {name} is not base64url")
    try:
        decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise InvalidJwk(f"its {name} is not base64url") from None
    if _base64url(decoded) != text or (size is not None and len(decoded) != size):
        raise InvalidJwk(f"its {name} is not of the right length")
    return decoded


def _require_point(x: bytes, y: bytes) -> None:
    numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), ec.SECP256R1())
    try:
        numbers.public_key()
    except ValueError:
        raise InvalidJwk("it is no point of P-256") from None


def _require_rsa(n: bytes, e: bytes) -> None:
    modulus = int.from_bytes(n)
    least, most = _RSA_BITS
    if not n or n[0] == 0 or not least <= modulus.bit_length() <= most or modulus % 2 == 0:
        raise InvalidJwk(f"an RSA key has an odd modulus of {least} to {most} bits")
    if int.from_bytes(e) != _EXPONENT or e[0] == 0:
        raise InvalidJwk(f"an RSA key has the exponent {_EXPONENT}")


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
