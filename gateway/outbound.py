"""The header lines an upstream receives from the gateway itself: what it vouches for, about whom and from where.

Invariant: each is written once, and nothing of the client's can stand in its place: a client's header of one of
these names has been taken out by `admit`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from secrets import token_hex

from gateway.sources import parse_source
from gateway.stages.assert_identity import Asserted
from gateway.stages.match_route import Routed

Header = tuple[bytes, bytes]

# Pieces of formatting rather than a list of headers that the leg would have to join again.
_REQUEST = b"%bportreeve-request-id: %b\r\ntraceparent: 00-%b-%b-%b\r\n"
_ORIGIN = (
    b'forwarded: for=%b;proto=%b;host="%b"\r\n'
    b"x-forwarded-for: %b\r\n"
    b"x-forwarded-proto: %b\r\n"
    b"x-forwarded-host: %b\r\n"
)
_PREFIX = b"x-forwarded-prefix: %b\r\n"
_IDENTITY = b"portreeve-identity: %b\r\n"
_STATE = b"tracestate: %b\r\n"
_REQUEST_COUNT, _ORIGIN_COUNT = _REQUEST.count(b"\n"), _ORIGIN.count(b"\n")
_SCHEMES = {b"http": "http", b"https": "https"}
_TRACEPARENT = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")


def lines_for(asserted: Asserted, routed: Routed) -> tuple[bytes, int]:
    """The lines, and how many they are by the names in them, so that whoever sends them can count again."""
    admitted = routed.admitted
    arrival, scheme, state = admitted.arrival, admitted.arrival.scheme, None
    # A trace begins here, unless a trusted proxy began it.
    request_id = trace_id = arrival.request_id.encode()
    span_id, flags = request_id[16:], b"01"
    if admitted.via_proxy:
        proxied = dict(admitted.headers.proxied)
        scheme = _SCHEMES.get(proxied.get(b"x-forwarded-proto", b""), scheme)
        match = _TRACEPARENT.fullmatch(proxied.get(b"traceparent", b""))
        if match is not None:
            trace_id, span_id, flags = match[1], token_hex(8).encode(), match[2]
            state = proxied.get(b"tracestate")
    origin, count = _origin(admitted.source.text, scheme, admitted.headers.host, routed.route.strip_prefix)
    lines = _REQUEST % (origin, request_id, trace_id, span_id, flags)
    if asserted.assertion is not None:
        lines += _IDENTITY % asserted.assertion.encode()
        count += 1
    if state is not None:
        lines += _STATE % state
        count += 1
    return lines, count


# The same for every request of a client to a route. A host is at most a few hundred bytes: what is kept is small.
@lru_cache(maxsize=4096)
def _origin(source: str, scheme: str, host: bytes, prefix: bytes) -> tuple[bytes, int]:
    """The lines about where a request comes from, and the count of all that every request gets."""
    known, proto = parse_source(source), scheme.encode()
    lines = _ORIGIN % (known.node, proto, host, known.encoded, proto, host)
    if prefix:
        return lines + _PREFIX % prefix, _REQUEST_COUNT + _ORIGIN_COUNT + 1
    return lines, _REQUEST_COUNT + _ORIGIN_COUNT
