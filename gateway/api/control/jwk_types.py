"""Public keys as JSON Web Keys, in requests and answers: every member bounded, and none that could hold a private half.

Whether it is a key at all, and one that a client can have, is `keys.public_jwks`'s knowledge.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from keys import public_jwks

_Number = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,700}$", description="base64url")]


class Jwk(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A public key (RFC 7517): of P-256, of Ed25519, or RSA of 2048 to 4096 bits."""

    kty: Literal["EC", "OKP", "RSA"]
    crv: Literal["P-256", "Ed25519"] | None = None
    x: _Number | None = None
    y: _Number | None = None
    n: _Number | None = None
    e: _Number | None = None
    alg: Literal["ES256", "EdDSA", "Ed25519", "PS256"] | None = None
    kid: Annotated[str, Meta(pattern="^[!-~]{1,128}$")] | None = None
    use: Literal["sig"] | None = None
    key_ops: Annotated[tuple[Literal["verify"], ...], Meta(min_length=1, max_length=1)] | None = None


SAMPLE: Final = Jwk(
    kty="EC",
    crv="P-256",
    x="f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    y="x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    kid="2026-11",
)


def encode(jwk: Jwk) -> bytes:
    return msgspec.json.encode(jwk)


def view(public_key: bytes) -> Jwk:
    return msgspec.convert(dict(public_jwks.parse_serialised(public_key).members), Jwk)
