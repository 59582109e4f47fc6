"""Header hygiene: what may arrive, what may go on to an upstream, and what may come back.

Invariant: nothing a client sends in a name that the gateway speaks in reaches an upstream, in any case and
with `_` for `-` alike; nothing that `Connection` names can take away what the gateway adds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from gateway.problems import Refusal

Header = tuple[bytes, bytes]

NAMESPACE = b"portreeve"

# Repeating one of these would let two readers of one request read two different requests.
_SINGLE = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"authorization", b"dpop", b"content-type", b"expect"}
)
_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
# What the gateway reads itself, or writes anew with what it knows to be true.
_GATEWAY_OWNED = frozenset(
    {
        b"host",
        b"content-length",
        b"expect",
        b"authorization",
        b"dpop",
        b"forwarded",
        b"via",
        b"forwarded-for",
        b"signature",
        b"signature-input",
        b"proxy",
        b"remote-user",
        b"x-forwarded",
        b"x-host",
        b"x-original-host",
        b"x-real-ip",
        b"x-remote-user",
        b"true-client-ip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"cf-connecting-ip",
        # A framework behind us that obeys one of these would serve another method or path than was authorised.
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-original-method",
        b"x-original-uri",
        b"x-original-url",
        b"x-rewrite-url",
        b"x-request-id",
        b"traceparent",
        b"tracestate",
    }
)
_NOT_FORWARDED = _HOP_BY_HOP | _GATEWAY_OWNED
_NOT_NAMEABLE = frozenset({b"content-length", b"transfer-encoding", b"host"})
_FAMILIES = (b"x-forwarded-", b"x-envoy-")

_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}))(?::[0-9]{1,5})?")
# What `httptools` lets through in a name is a token already; in a value, only these are refused everywhere.
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class RequestHeaders(msgspec.Struct, frozen=True):
    """The headers of one request, read once: what the gateway needs by name, and the rest to pass on."""

    host: bytes
    key: bytes | None
    timestamp: bytes | None
    nonce: bytes | None
    signature: bytes | None
    content_length: int | None
    chunked: bool
    passed: list[Header]
    proxied: list[Header]


def read(headers: Iterable[Header]) -> RequestHeaders:
    """Refuses what could be read in two ways; splits the rest in one pass."""
    seen: dict[bytes, bytes | None] = {}
    passed: list[Header] = []
    proxied: list[Header] = []
    for name, value in headers:
        plain = name.replace(b"_", b"-") if b"_" in name else name
        single = plain.startswith(NAMESPACE)
        if single or plain in _SINGLE:
            if plain in seen:
                raise _repeated(plain)
            # A name spelt with `_` is none of ours: it is dropped, but it still counts as a repetition.
            seen[plain] = value if plain is name else None
            if single:
                continue
        if plain is not name:
            # Servers that fold `_` into `-` would read it as the other name, and past every rule here.
            continue
        if plain in _NOT_FORWARDED or plain.startswith(_FAMILIES):
            proxied.append((name, value))
            continue
        passed.append((name, value))
    return _assemble(seen, passed, proxied)


def _assemble(seen: dict[bytes, bytes | None], passed: list[Header], proxied: list[Header]) -> RequestHeaders:
    host = seen.get(b"host")
    if host is None or _HOST.fullmatch(host) is None:
        raise Refusal("malformed_headers", "Exactly one well-formed Host header is required.")
    length = seen.get(b"content-length")
    coding = seen.get(b"transfer-encoding")
    if coding is not None and (length is not None or coding.lower() != b"chunked"):
        raise Refusal("malformed_headers", "The body is framed by Content-Length or by chunks, not by both.")
    named = _named_by_connection(proxied) if proxied else frozenset()
    if named:
        passed = [header for header in passed if header[0] not in named]
    return RequestHeaders(
        host=host,
        key=seen.get(b"portreeve-key"),
        timestamp=seen.get(b"portreeve-timestamp"),
        nonce=seen.get(b"portreeve-nonce"),
        signature=seen.get(b"portreeve-signature"),
        content_length=None if length is None else _parse_length(length),
        chunked=coding is not None,
        passed=passed,
        proxied=proxied,
    )


def _named_by_connection(proxied: list[Header]) -> frozenset[bytes]:
    named: set[bytes] = set()
    for name, value in proxied:
        if name == b"connection":
            named.update(item.strip().lower() for item in value.split(b","))
    if named & _NOT_NAMEABLE:
        raise Refusal("malformed_headers", "Connection may not name a header that frames or addresses.")
    return frozenset(named)


def _parse_length(value: bytes) -> int:
    if not value.isdigit() or len(value) > 15:  # noqa: PLR2004  a petabyte: no body is longer
        raise Refusal("malformed_headers", "Content-Length is not a plain decimal number.")
    return int(value)


def _repeated(name: bytes) -> Refusal:
    return Refusal("malformed_headers", f"The header {name.decode('latin-1')} may be sent only once.")


# Framing is the gateway's own; limits are; and a proxy in front of it must not be steered from behind it.
_NOT_RETURNED = frozenset({b"content-length", b"alt-svc", b"ratelimit", b"ratelimit-policy", b"x-sendfile"})
_NOT_RETURNED_FAMILIES = (NAMESPACE, b"x-accel-")


def relocated(location: bytes, authority: bytes, prefix: bytes) -> bytes:
    """A place on the upstream, as the client can reach it: on the gateway, below the prefix that was stripped."""
    for scheme in (b"http://", b"https://"):
        own = scheme + authority
        if location.startswith((own + b"/", own + b"?")) or location == own:
            location = location[len(own) :] or b"/"
    if location.startswith(b"/") and not location.startswith(b"//"):
        return prefix + location
    return location


def returnable(headers: Iterable[Header], authority: bytes, prefix: bytes) -> list[Header]:
    """What an upstream answered and may reach the client: an upstream cannot speak as the gateway."""
    return [
        (name, relocated(value, authority, prefix) if name == b"location" else value)
        for name, value in headers
        if name not in _NOT_RETURNED
        and not name.startswith(_NOT_RETURNED_FAMILIES)
        and _BAD_VALUE.search(value) is None
    ]
