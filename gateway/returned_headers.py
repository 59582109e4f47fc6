"""What an upstream answered and may reach the client: an upstream cannot speak as the gateway."""

from __future__ import annotations

from gateway.headers import NAMESPACE

# Framing is the gateway's own; limits are; and a proxy in front of it must not be steered from behind it.
_NOT_RETURNED = frozenset({b"content-length", b"alt-svc", b"ratelimit", b"ratelimit-policy", b"x-sendfile"})
_NOT_RETURNED_FAMILIES = (NAMESPACE, b"x-accel-")


def is_returned(name: bytes) -> bool:
    """`name` in lower case. Nothing but the name decides it."""
    return name not in _NOT_RETURNED and not name.startswith(_NOT_RETURNED_FAMILIES)


def location_lines(locations: tuple[bytes, ...], authority: bytes, prefix: bytes) -> bytes:
    return b"".join([b"location: %b\r\n" % relocated(value, authority, prefix) for value in locations])


def relocated(location: bytes, authority: bytes, prefix: bytes) -> bytes:
    """A place on the upstream, as the client can reach it: on the gateway, below the prefix that was stripped."""
    for scheme in (b"http://", b"https://"):
        own = scheme + authority
        if location.startswith((own + b"/", own + b"?")) or location == own:
            location = location[len(own) :] or b"/"
    if location.startswith(b"/") and not location.startswith(b"//"):
        return prefix + location
    return location
