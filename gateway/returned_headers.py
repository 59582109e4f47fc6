"""What an upstream answered and may reach the client: an upstream cannot speak as the gateway."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from gateway.headers import NAMESPACE

Header = tuple[bytes, bytes]

# Framing is the gateway's own; limits are; and a proxy in front of it must not be steered from behind it.
_NOT_RETURNED = frozenset({b"content-length", b"alt-svc", b"ratelimit", b"ratelimit-policy", b"x-sendfile"})
_NOT_RETURNED_FAMILIES = (NAMESPACE, b"x-accel-")
_LONGEST_KEPT = 2048
_Fate = Literal["returned", "relocated", "dropped"]


def returnable(
    names: tuple[bytes, ...], headers: list[Header], authority: bytes, prefix: bytes
) -> list[Header]:
    """`names` are those of `headers`: they alone decide whether anything has to be looked at."""
    fates = _kept_fates(names) if sum(map(len, names)) <= _LONGEST_KEPT else _fates(names)
    if fates is None:
        return headers
    returned = []
    for (name, value), fate in zip(headers, fates, strict=True):
        if fate == "returned":
            returned.append((name, value))
        elif fate == "relocated":
            returned.append((name, relocated(value, authority, prefix)))
    return returned


def _fates(names: tuple[bytes, ...]) -> tuple[_Fate, ...] | None:
    """None if all of them return as they are, which is the rule."""
    fates = tuple([_fate(name) for name in names])
    return None if set(fates) <= {"returned"} else fates


# An upstream answers with the same few names. Bounded in number and, where it is asked, in size.
_kept_fates = lru_cache(maxsize=256)(_fates)


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
