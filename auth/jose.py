"""Signed JSON, strictly: one compact form, one signature under it, and keys that fix their own algorithm. Pure.

Invariant: what parses is spelt in the only way there is: three segments of canonical base64url, two JSON objects in
which no member comes twice. An algorithm belongs to a key and is never taken from a header: the header may only agree
with it. A message brings a key only where the caller asked for one, and points to none.
Refuses: more than 8 KiB, before anything is read; `crit`, `b64`, `zip` and every member that names a key elsewhere;
private keys, weak ones, and algorithms that were not asked for. No failure repeats what came.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, Final, Literal, NoReturn

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from keys import ed25519

Alg = Literal["ES256", "PS256", "EdDSA", "RS256"]
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | Ed25519PublicKey
PrivateKey = ec.EllipticCurvePrivateKey | Ed25519PrivateKey

FAPI: Final[tuple[Alg, ...]] = ("ES256", "PS256", "EdDSA")
_EVERY: Final[tuple[Alg, ...]] = (*FAPI, "RS256")
LARGEST: Final = 8_192
MOST_KEYS: Final = 64
_LONGEST_KID: Final = 128
_LONGEST_INTEGER: Final = 19
_COORDINATE: Final = 32
_RSA_BITS: Final = range(2_048, 4_097)
_RSA_EXPONENTS: Final = range(65_537, 2**32, 2)
# What an algorithm is called in a header or a key.
_NAMES: Final[dict[str, Alg]] = {
    "ES256": "ES256",
    "PS256": "PS256",
    "RS256": "RS256",
    "EdDSA": "EdDSA",
    "Ed25519": "EdDSA",
}
_OF_TYPE: Final[dict[str, frozenset[Alg]]] = {
    "EC": frozenset({"ES256"}),
    "RSA": frozenset({"PS256", "RS256"}),
    "OKP": frozenset({"EdDSA"}),
}
_THUMBPRINT_MEMBERS: Final = {
    "EC": ("crv", "kty", "x", "y"),
    "RSA": ("e", "kty", "n"),
    "OKP": ("crv", "kty", "x"),
}
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_NEVER_IN_HEADER: Final = frozenset({"crit", "b64", "zip", "jku", "x5u", "x5c", "enc", "epk"})
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_ECDSA: Final = ec.ECDSA(hashes.SHA256())
_PSS: Final = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)


class MalformedJws(Exception):
    """Never repeats what came. `why` is one of our own sentences."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class BadJwsSignature(Exception):
    """Also where the header names another algorithm than the key has."""

    def __init__(self) -> None:
        super().__init__("the signature does not verify")


class InvalidJwk(Exception):
    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Jws(msgspec.Struct, frozen=True):
    """Read, and not yet believed: see `verify`."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signing_input: bytes
    signature: bytes

    @property
    def kid(self) -> str | None:
        kid: str | None = self.header.get("kid")
        return kid


class VerificationKey(msgspec.Struct, frozen=True, eq=False):
    algorithm: Alg
    public_key: PublicKey
    kid: str | None
    thumbprint: str


def parse(compact: str | bytes, *, allow_jwk: bool = False) -> Jws:
    segments = split(compact)
    return join(segments, parse_header(segments[0], allow_jwk=allow_jwk))


def split(compact: str | bytes) -> list[bytes]:
    """Its three segments, not yet read."""
    if len(compact) > LARGEST:
        raise MalformedJws("it is longer than 8 KiB")
    try:
        raw = compact.encode("ascii") if isinstance(compact, str) else compact
    except UnicodeEncodeError:
        raise MalformedJws("it is not ASCII") from None
    segments = raw.split(b".")
    if len(segments) != 3:  # noqa: PLR2004  header, claims and signature
        raise MalformedJws("it has not three segments")
    return segments


def parse_header(segment: bytes, *, allow_jwk: bool = False) -> dict[str, Any]:
    header = _parse_object(_decode(segment))
    _require_plain(header, allow_jwk=allow_jwk)
    return header


def join(segments: Sequence[bytes], header: dict[str, Any]) -> Jws:
    """`header`: what the first segment says; whoever reads the same one often need not do it each time."""
    head, claims, signature = segments
    return Jws(header, _parse_object(_decode(claims)), b"%b.%b" % (head, claims), _decode(signature))


def verify(jws: Jws, key: VerificationKey) -> None:
    if _NAMES.get(jws.header["alg"]) != key.algorithm:
        raise BadJwsSignature
    try:
        _verify(key, jws.signature, jws.signing_input)
    except InvalidSignature:
        raise BadJwsSignature from None


def sign(header: Mapping[str, Any], claims: Mapping[str, Any], private_key: PrivateKey) -> str:
    """With a key of one of our rings. The algorithm follows from the key and is written into the header here."""
    is_edwards = isinstance(private_key, Ed25519PrivateKey)
    named = {**header, "alg": "EdDSA" if is_edwards else "ES256"}
    signing_input = b".".join(encode(msgspec.json.encode(part)).encode() for part in (named, claims))
    if isinstance(private_key, Ed25519PrivateKey):
        signature = private_key.sign(signing_input)
    else:
        r, s = utils.decode_dss_signature(private_key.sign(signing_input, _ECDSA))
        signature = r.to_bytes(_COORDINATE) + s.to_bytes(_COORDINATE)
    return f"{signing_input.decode()}.{encode(signature)}"


def parse_public_jwk(jwk: Mapping[str, Any], *, algorithms: Sequence[Alg] = FAPI) -> VerificationKey:
    """An RSA key that names no algorithm takes the first RSA one of those asked for."""
    if _PRIVATE & jwk.keys():
        raise InvalidJwk("it holds a private or symmetric key")
    kid, kind = jwk.get("kid"), jwk.get("kty")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= _LONGEST_KID):
        raise InvalidJwk("its kid is not 1 to 128 characters")
    if not isinstance(kind, str) or kind not in _OF_TYPE:
        raise InvalidJwk("its kty is not EC, RSA or OKP")
    _require_for_signatures(jwk)
    algorithm = _algorithm_of(jwk.get("alg"), kind, algorithms)
    return VerificationKey(algorithm, _PARSE[kind](jwk), kid, _thumbprint(jwk, kind))


def parse_key_set(document: object, *, algorithms: Sequence[Alg] = FAPI) -> tuple[VerificationKey, ...]:
    """A set may hold keys for other purposes: those are left out. Two under one id would leave a choice to chance."""
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > MOST_KEYS:
        raise InvalidJwk(f"it is not a set of at most {MOST_KEYS} keys")
    found = []
    for jwk in listed:
        try:
            found.append(parse_public_jwk(jwk, algorithms=algorithms) if isinstance(jwk, dict) else None)
        except InvalidJwk:
            continue
    keys = tuple(key for key in found if key is not None)
    named = [key.kid for key in keys if key.kid is not None]
    if len(named) != len(set(named)):
        raise InvalidJwk("two of its keys have the same kid")
    return keys


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """RFC 7638, with SHA-256."""
    return parse_public_jwk(jwk, algorithms=_EVERY).thumbprint


def encode(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def parse_json(raw: bytes) -> dict[str, Any]:
    """A JSON object in which nothing comes twice and everything can be written again."""
    return _parse_object(raw)


def _decode(segment: bytes) -> bytes:
    try:
        raw = binascii.a2b_base64(segment.translate(_FROM_URL) + b"=" * (-len(segment) % 4))
    except binascii.Error:
        raw = b""
    # Written back, because the decoder skips what it does not know and ignores the last letter's spare bits.
    if not raw or binascii.b2a_base64(raw, newline=False).translate(_TO_URL).rstrip(b"=") != segment:
        raise MalformedJws("a segment is not canonical base64url")
    return raw


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedJws("a member comes twice")
    return found


def _constant(_: str) -> NoReturn:
    raise MalformedJws("a number is none of JSON's")


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_INTEGER:
        raise MalformedJws("a number is too large")
    return int(digits)


def _fraction(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise MalformedJws("a number is too large")
    return number


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_constant, parse_int=_integer, parse_float=_fraction
)


def _parse_object(raw: bytes) -> dict[str, Any]:
    try:
        found = _DECODER.decode(raw.decode("utf-8"))
        if b"\\u" in raw:
            # Half a surrogate pair is text that no UTF-8 can hold: it would break whoever writes it later.
            json.dumps(found, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        raise MalformedJws("a segment is not JSON") from None
    if not isinstance(found, dict):
        raise MalformedJws("a segment is not a JSON object")
    return found


def _require_plain(header: dict[str, Any], *, allow_jwk: bool) -> None:
    if not isinstance(header.get("alg"), str):
        raise MalformedJws("its alg is not text")
    if not isinstance(header.get("typ", ""), str):
        raise MalformedJws("its typ is not text")
    kid = header.get("kid", "")
    if not isinstance(kid, str) or len(kid) > _LONGEST_KID:
        raise MalformedJws("its kid is not text of at most 128 characters")
    if _NEVER_IN_HEADER & header.keys() or ("jwk" in header and not allow_jwk):
        raise MalformedJws("its header holds what is not allowed there")


def _verify(key: VerificationKey, signature: bytes, message: bytes) -> None:
    public_key = key.public_key
    if isinstance(public_key, Ed25519PublicKey):
        public_key.verify(signature, message)
    elif isinstance(public_key, ec.EllipticCurvePublicKey):
        if len(signature) != 2 * _COORDINATE:
            raise InvalidSignature
        r, s = int.from_bytes(signature[:_COORDINATE]), int.from_bytes(signature[_COORDINATE:])
        public_key.verify(utils.encode_dss_signature(r, s), message, _ECDSA)
    else:
        # In full length only: with a zero less or more in front it would be a second spelling.
        if len(signature) != (public_key.key_size + 7) // 8:
            raise InvalidSignature
        filled = _PSS if key.algorithm == "PS256" else padding.PKCS1v15()
        public_key.verify(signature, message, filled, hashes.SHA256())


def _require_for_signatures(jwk: Mapping[str, Any]) -> None:
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise InvalidJwk("it is not for verifying signatures")


def _algorithm_of(named: object, kind: str, asked: Sequence[Alg]) -> Alg:
    fitting = _OF_TYPE[kind]
    if named is None:
        found = next((each for each in asked if each in fitting), None)
    else:
        found = _NAMES.get(named) if isinstance(named, str) else None
    if found is None or found not in fitting or found not in asked:
        raise InvalidJwk("its algorithm is not one of those asked for")
    return found


def _parse_p256(jwk: Mapping[str, Any]) -> ec.EllipticCurvePublicKey:
    if jwk.get("crv") != "P-256":
        raise InvalidJwk("its curve is not P-256")
    x, y = (int.from_bytes(_member(jwk, name, _COORDINATE)) for name in ("x", "y"))
    try:
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except ValueError:
        raise InvalidJwk("it is no point of its curve") from None


def _parse_ed25519(jwk: Mapping[str, Any]) -> Ed25519PublicKey:
    if jwk.get("crv") != "Ed25519":
        raise InvalidJwk("its curve is not Ed25519")
    raw = _member(jwk, "x", _COORDINATE)
    try:
        return Ed25519PublicKey.from_public_bytes(ed25519.refuse_small_order(raw))
    except ValueError as cause:
        raise InvalidJwk("it is no point of its curve, or one that anybody can sign for") from cause


def _parse_rsa(jwk: Mapping[str, Any]) -> rsa.RSAPublicKey:
    modulus, exponent = _member(jwk, "n"), _member(jwk, "e")
    if modulus[0] == 0 or exponent[0] == 0:
        raise InvalidJwk("one of its numbers begins with a zero")
    n, e = int.from_bytes(modulus), int.from_bytes(exponent)
    if n.bit_length() not in _RSA_BITS or not n & 1 or e not in _RSA_EXPONENTS:
        raise InvalidJwk("it has less than 2048 bits, more than 4096, or an unusual exponent")
    try:
        return rsa.RSAPublicNumbers(e, n).public_key()
    except ValueError:
        raise InvalidJwk("it is no RSA key") from None


_PARSE: Final[dict[str, Callable[[Mapping[str, Any]], PublicKey]]] = {
    "EC": _parse_p256,
    "OKP": _parse_ed25519,
    "RSA": _parse_rsa,
}


def _member(jwk: Mapping[str, Any], name: str, size: int | None = None) -> bytes:
    text = jwk.get(name)
    if not isinstance(text, str) or not text.isascii() or len(text) > LARGEST:
        raise InvalidJwk(f"its {name} is not text")
    try:
        raw = _decode(text.encode("ascii"))
    except MalformedJws:
        raise InvalidJwk(f"its {name} is not canonical base64url") from None
    if size is not None and len(raw) != size:
        raise InvalidJwk(f"its {name} has not {size} bytes")
    return raw


def _thumbprint(jwk: Mapping[str, Any], kind: str) -> str:
    # None of the values needs escaping: each has been read as base64url or compared with a name.
    members = ",".join(f'"{name}":"{jwk[name]}"' for name in _THUMBPRINT_MEMBERS[kind])
    return encode(hashlib.sha256(f"{{{members}}}".encode()).digest())
