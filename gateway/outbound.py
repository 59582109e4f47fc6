"""The request an upstream receives: what the client passes on, and what the gateway vouches for, about whom and from
where.

Invariant: each is written once, and nothing of the client's can stand in its place: a client's header of one of
these names has been taken out by `admit`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from functools import lru_cache
from secrets import token_hex

from gateway.sources import parse_source
from gateway.stages.assert_identity import Asserted
from gateway.stages.match_route import Routed
from gateway.upstream import OutboundRequest, prepare

# Pieces of formatting rather than a list of headers that the leg would have to join again.
_ORIGIN = (
    b'forwarded: for=%b;proto=%b;host="%b"\r\n'
    b"x-forwarded-for: %b\r\n"
    b"x-forwarded-proto: %b\r\n"
    b"x-forwarded-host: %b\r\n"
)
_PREFIX = b"x-forwarded-prefix: %b\r\n"
_STATE = b"tracestate: %b\r\n"
# Before it what the client passes on and the origin, which are lines already.
_OF_STRANGER = b"%b%bportreeve-request-id: %b\r\ntraceparent: 00-%b-%b-%b\r\n"
_OF_CALLER = _OF_STRANGER + b"portreeve-identity: %b\r\n"
_ORIGIN_COUNT, _STRANGER_COUNT, _CALLER_COUNT = [
    lines.count(b"\n") for lines in (_ORIGIN, _OF_STRANGER, _OF_CALLER)
]
_SCHEMES = {b"http": "http", b"https": "https"}
_TRACEPARENT = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")
_FIRST_FLAGS = b"01"


def request_for(
    authority: bytes,
    asserted: Asserted,
    routed: Routed,
    body: bytes | AsyncIterator[bytes],
    length: int | None = None,
) -> OutboundRequest:
    """What the client passes on, and after it what the gateway says itself."""
    admitted, route, assertion = routed.admitted, routed.route, asserted.assertion
    arrival, headers = admitted.arrival, admitted.headers
    scheme, passed, count = arrival.scheme, headers.passed, headers.passed_count
    # A trace begins here, unless a trusted proxy began it.
    request_id = trace_id = arrival.request_id.encode()
    span_id, flags = request_id[16:], _FIRST_FLAGS
    if admitted.via_proxy:
        proxied = dict(headers.proxied)
        scheme = _SCHEMES.get(proxied.get(b"x-forwarded-proto", b""), scheme)
        match = _TRACEPARENT.fullmatch(proxied.get(b"traceparent", b""))
        if match is not None:
            trace_id, span_id, flags = match[1], token_hex(8).encode(), match[2]
            if b"tracestate" in proxied:
                passed += _STATE % proxied[b"tracestate"]
                count += 1
    origin, origin_count = _origin(admitted.source.text, scheme, headers.host, route.strip_prefix)
    if assertion is None:
        lines = _OF_STRANGER % (passed, origin, request_id, trace_id, span_id, flags)
        count += origin_count + _STRANGER_COUNT
    else:
        lines = _OF_CALLER % (passed, origin, request_id, trace_id, span_id, flags, assertion.encode())
        count += origin_count + _CALLER_COUNT
    method, target = arrival.method.encode("ascii"), route.upstream_target(admitted.target)
    return prepare(authority, method, target, lines, count, body, length)


# The same for every request of a client to a route. A host is at most a few hundred bytes: what is kept is small.
@lru_cache(maxsize=4096)
def _origin(source: str, scheme: str, host: bytes, prefix: bytes) -> tuple[bytes, int]:
    """The lines about where a request comes from, and their count."""
    known, proto = parse_source(source), scheme.encode()
    lines = _ORIGIN % (known.node, proto, host, known.encoded, proto, host)
    return (lines + _PREFIX % prefix, _ORIGIN_COUNT + 1) if prefix else (lines, _ORIGIN_COUNT)
