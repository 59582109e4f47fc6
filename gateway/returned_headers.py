"""What an upstream answered and may reach the client: an upstream cannot speak as the gateway."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from gateway.headers import NAMESPACE

Header = tuple[bytes, bytes]

# Framing is the gateway's own; limits are; and a proxy in front of it must not be steered from behind it.
_NOT_RETURNED = frozenset({b"content-length", b"alt-svc", b"ratelimit", b"ratelimit-policy", b"x-sendfile"})
_NOT_RETURNED_FAMILIES = (NAMESPACE, b"x-accel-")
_Fate = Literal["returned", "relocated", "dropped"]


def returnable(headers: list[Header], authority: bytes, prefix: bytes) -> list[Header]:
    returned = []
    for header in headers:
        fate = _fate(header[0])
        if fate == "returned":
            returned.append(header)
        elif fate == "relocated":
            returned.append((header[0], relocated(header[1], authority, prefix)))
    return returned


# An upstream uses the same few names in every answer.
@lru_cache(maxsize=1024)
def _fate(name: bytes) -> _Fate:
    if name in _NOT_RETURNED or name.startswith(_NOT_RETURNED_FAMILIES):
        return "dropped"
    return "relocated" if name == b"location" else "returned"


def relocated(location: bytes, authority: bytes, prefix: bytes) -> bytes:
    """A place on the upstream, as the client can reach it: on the gateway, below the prefix that was stripped."""
    for scheme in (b"http://", b"https://"):
        own = scheme + authority
        if location.startswith((own + b"/", own + b"?")) or location == own:
            location = location[len(own) :] or b"/"
    if location.startswith(b"/") and not location.startswith(b"//"):
        return prefix + location
    return location
