"""What the ledger's keys sign: checkpoints, and the ends of exports. Pure, and all that is needed offline.

A checkpoint says: the first `seq` entries of this service's ledger have this Merkle root and this last hash, and the
checkpoint before was that one. Its `peaks` let whoever trusts it go on from there without the entries before. The end
of an export says which entries the export holds, so that a shorter one is not the same export.

Invariant: a statement that is read was signed, as the kind it is read as, by one of the keys at hand, and every key
goes by the thumbprint (RFC 7638) of its public half, so that an id cannot be lent to another key. There is one
spelling of each. Refuses all else with `StatementRefused`; the header brings or points to no key.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol, TypeVar

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keys import signing_keys

_ALGORITHM: Final = "EdDSA"
_LARGEST: Final = 32_768
# The 86th character of a 64-byte signature carries two bits; any other last letter would be a second spelling.
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{85}[AQgw]")
_HALF: Final = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")
_UNCHECKED: Final[Any] = {
    f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")
}

Jwk = dict[str, str]
PublicKeys = Mapping[str, Ed25519PublicKey]


class StatementRefused(Exception):
    """The message completes a sentence that begins with the statement."""


class Signer(Protocol):
    """The current key of the ledger's ring."""

    @property
    def kid(self) -> str: ...
    @property
    def private_key(self) -> signing_keys.PrivateKey: ...


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which checkpoint: its number says where, its root over what."""

    seq: int
    root: str


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`at` is when it was made, in Unix milliseconds. `previous` is absent from the first alone."""

    iss: str
    seq: int
    entries: int
    root: str
    hash: str
    peaks: tuple[str, ...]
    at: int
    previous: Mark | None

    @property
    def mark(self) -> Mark:
        return Mark(self.seq, self.root)


class ExportEnd(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The entries `first` to `last` stand in the export; its lines lead up to `seq`, which may lie behind them.

    `header` is the SHA-256 of the first line, its line end included.
    """

    iss: str
    header: str
    first: int
    last: int
    seq: int
    root: str
    hash: str
    at: int
    previous: Mark | None


_TYPES: Final[dict[type[msgspec.Struct], str]] = {
    Checkpoint: "portreeve-checkpoint+jwt",
    ExportEnd: "portreeve-export+jwt",
}
Kind = TypeVar("Kind", Checkpoint, ExportEnd)


def sign(statement: Checkpoint | ExportEnd, signer: Signer) -> str:
    headers = {"typ": _TYPES[type(statement)], "kid": signer.kid}
    claims = msgspec.to_builtins(statement)
    return jwt.encode(claims, signer.private_key, algorithm=_ALGORITHM, headers=headers)


def read(text: str, kind: type[Kind], keys: PublicKeys) -> tuple[Kind, str]:
    """The statement, and the id of the key that signed it."""
    kid = _read_header(text, _TYPES[kind])
    key = keys.get(kid)
    if key is None:
        raise StatementRefused(f"is signed by the key {kid}, which is not among those to be trusted")
    try:
        claims = jwt.decode(text, key, algorithms=[_ALGORITHM], options=_UNCHECKED)
        return msgspec.convert(claims, kind), kid
    except jwt.InvalidTokenError:
        raise StatementRefused("does not have a signature that holds") from None
    except msgspec.ValidationError:
        raise StatementRefused("does not say what such a statement says") from None


def read_unverified_mark(end: str) -> Mark:
    """Where an export ended that was verified earlier, by whoever kept it: the signature is not looked at again."""
    _read_header(end, _TYPES[ExportEnd])
    try:
        said = msgspec.convert(jwt.decode(end, options={"verify_signature": False} | _UNCHECKED), ExportEnd)
    except (jwt.InvalidTokenError, msgspec.ValidationError):
        raise StatementRefused("does not say what such a statement says") from None
    return Mark(said.seq, said.root)


def _read_header(text: str, expected: str) -> str:
    if len(text) > _LARGEST or _COMPACT.fullmatch(text) is None:
        raise StatementRefused("is no compact JWS")
    try:
        header = jwt.get_unverified_header(text)
    except jwt.InvalidTokenError:
        raise StatementRefused("is no compact JWS") from None
    if set(header) != {"alg", "typ", "kid"} or header["alg"] != _ALGORITHM or header["typ"] != expected:
        raise StatementRefused(f"is no {expected}")
    kid: str = header["kid"]
    return kid


def public_keys(jwks: Iterable[object]) -> dict[str, Ed25519PublicKey]:
    """By their thumbprints. A key under another id is refused."""
    found: dict[str, Ed25519PublicKey] = {}
    for jwk in jwks:
        match jwk:
            case {"kty": "OKP", "crv": "Ed25519", "x": str() as x, "kid": str() as kid} if _HALF.fullmatch(x):
                if kid != thumbprint(x):
                    raise StatementRefused(f"has a key that is not the one its id says: {kid}")
                found[kid] = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(f"{x}="))
            case _:
                raise StatementRefused("has a key that is no Ed25519 key with its id")
    return found


def thumbprint(x: str) -> str:
    # Exactly these members, in this order and without any space.
    digest = hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
