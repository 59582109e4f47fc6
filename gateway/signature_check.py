"""Shows a partner the string that the gateway would have verified, beside the one that the partner signed.

Pure: it looks up no key, needs no secret and can therefore reveal none. What comes out was sent in.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Any

import msgspec

from auth import canonical, credential
from gateway import paths

_CONTEXT = 24


Method = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{1,32}\Z")]


class Described(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request as its sender means it. The signature is not asked for: it would prove nothing here."""

    method: Method
    target: str
    key: str
    timestamp: str
    nonce: str
    body: str = ""
    body_hex: str | None = None
    canonical: str | None = None


class Mismatch(msgspec.Struct, frozen=True):
    byte: int
    line: int
    field: str
    server: str
    yours: str


_FIELDS = ("scheme", "timestamp", "nonce", "key", "method", "path", "query", "body_sha256")
_PLACEHOLDER_SIGNATURE = b"0" * 64


def explain(described: Described, body: bytes, max_window_ms: int) -> dict[str, Any]:
    sent = (
        described.key.encode(),
        described.timestamp.encode(),
        described.nonce.encode(),
        _PLACEHOLDER_SIGNATURE,
    )
    claim = credential.parse(sent, max_window_ms)
    target = paths.canonical_target(described.target.encode())
    digest = sha256(body).hexdigest()
    built = canonical.string_to_sign(
        claim.timestamp,
        claim.nonce,
        claim.signed_key_id,
        described.method.encode(),
        target.path.encode(),
        target.query,
        digest.encode(),
    ).decode("ascii")
    answer: dict[str, Any] = {"canonical": built, "body_sha256": digest, "body_bytes": len(body)}
    if described.canonical is not None:
        answer["matches"] = described.canonical == built
        answer["first_difference"] = find_difference(built, described.canonical)
    return answer


def find_difference(built: str, own: str) -> Mismatch | None:
    """The first byte where they part, and which signed field it lies in."""
    server, yours = built.encode(), own.encode("utf-8", "surrogateescape")
    if server == yours:
        return None
    at = next((i for i, (a, b) in enumerate(zip(server, yours, strict=False)) if a != b), None)
    if at is None:
        at = min(len(server), len(yours))
    line = server[:at].count(b"\n")
    return Mismatch(
        byte=at,
        line=line + 1,
        field=_FIELDS[line],
        server=server[at : at + _CONTEXT].decode("ascii"),
        yours=yours[at : at + _CONTEXT].decode("utf-8", "replace"),
    )
