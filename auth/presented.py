"""The claim that `Authorization` and `DPoP` make: an access token, and the proof that comes with it. Not yet believed.

Invariant: one scheme, one blank, one token of at most 8 KiB in the letters that tokens are written in. Other schemes
than `Bearer` and `DPoP` claim nothing here, and are left to whoever knows them: they go no further than the gateway.
Never in a query, never in a body.
"""

import re
from typing import Final, Literal

import msgspec

Scheme = Literal["Bearer", "DPoP"]

LARGEST: Final = 8_192
_SCHEMES: Final[dict[bytes, Scheme]] = {b"bearer": "Bearer", b"dpop": "DPoP"}
_LETTERS: Final = re.compile(rb"[A-Za-z0-9._~+/-]+=*")


class Presented(msgspec.Struct, frozen=True, gc=False):
    """`access_token` is empty where what was sent can be none. `signed`: the request was signed with a key as well."""

    scheme: Scheme
    access_token: bytes
    proof: bytes | None
    signed: bool

    def __repr__(self) -> str:
        return f"Presented({self.scheme})"


def find(authorization: bytes, proof: bytes | None, *, signed: bool) -> Presented | None:
    name, _, value = authorization.partition(b" ")
    scheme = _SCHEMES.get(name.lower())
    if scheme is None:
        return None
    # A token that is too large is not looked at, not even for its letters.
    sound = len(value) <= LARGEST and _LETTERS.fullmatch(value) is not None
    return Presented(scheme, value if sound else b"", proof, signed)
