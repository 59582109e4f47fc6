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

import compiled
from gateway.credentials.proof import Attached
from gateway.kept import Kept
from gateway.paths import Target
from gateway.routes import Route
from gateway.sources import parse_source
from gateway.stages.assert_identity import Asserted
from gateway.stages.match_route import Routed
from gateway.upstream import SMALL_BODY, Opening, OutboundRequest, open_head, prepare, require_lines

# Pieces of formatting rather than a list of headers that the leg would have to join again.
_ORIGIN = (
    b'forwarded: for=%b;proto=%b;host="%b"\r\n'
    b"x-forwarded-for: %b\r\n"
    b"x-forwarded-proto: %b\r\n"
    b"x-forwarded-host: %b\r\n"
)
_ORIGIN_COUNT = _ORIGIN.count(b"\n")
_PREFIX = b"x-forwarded-prefix: %b\r\n"
_STATE = b"tracestate: %b\r\n"
# Before it the origin, which is lines already. All values are the gateway's own: digits of ids, and a signed token.
_OF_STRANGER = b"%bportreeve-request-id: %b\r\ntraceparent: 00-%b-%b-%b\r\n"
_OF_CALLER = _OF_STRANGER + b"portreeve-identity: %b\r\n"
_SCHEMES = {b"http": "http", b"https": "https"}
_TRACEPARENT = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")
_FIRST_FLAGS = b"01"

# The upstream's authority, the method, by which route, and what for.
_Asked = tuple[bytes, str, Route, Target]
# Programs ask for few targets again and again, and those are short.
_LONGEST_KEPT = 256
_MOST_KEPT = 1024


def request_for_any(  # noqa: PLR0913, PLR0917  each is a part of the request
    authority: bytes,
    asserted: Asserted,
    routed: Routed,
    body: bytes | AsyncIterator[bytes],
    length: int | None = None,
    attached: Attached | None = None,
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
    origin = _origin(admitted.source.text, scheme, headers.host, route.strip_prefix)
    if assertion is None:
        own = _OF_STRANGER % (origin, request_id, trace_id, span_id, flags)
    else:
        own = _OF_CALLER % (origin, request_id, trace_id, span_id, flags, assertion.encode())
    if attached is not None:
        # Whatever the client sent in these names goes no further; lines are counted again below.
        passed, count = attached.taken.out_of(passed, count)
        own += attached.lines
    opening = _openings[authority, arrival.method, route, admitted.target]
    return prepare(opening, passed, count, own, body, length)


if compiled.IS_USED:
    from compiled.outbound import Composer

    _compose = Composer(SMALL_BODY).compose


def request_for_ordinary(  # noqa: PLR0913, PLR0917  as above
    authority: bytes,
    asserted: Asserted,
    routed: Routed,
    body: bytes | AsyncIterator[bytes],
    length: int | None = None,
    attached: Attached | None = None,
) -> OutboundRequest:
    """The same in one look, where no proxy has a say, nothing is attached, and the body goes along with the head."""
    admitted, route = routed.admitted, routed.route
    if attached is None and not admitted.via_proxy:
        arrival, headers = admitted.arrival, admitted.headers
        origin = _origin(admitted.source.text, arrival.scheme, headers.host, route.strip_prefix)
        opening = _openings[authority, arrival.method, route, admitted.target]
        first = _compose(
            opening.lines,
            opening.may_end,
            headers.passed,
            headers.passed_count,
            origin,
            arrival.request_id,
            asserted.assertion,
            body,
        )
        if first is not None:
            return OutboundRequest(opening.method, first, opening.head_only)
    return request_for_any(authority, asserted, routed, body, length, attached)


request_for = request_for_ordinary if compiled.IS_USED else request_for_any


def _open(asked: _Asked) -> Opening:
    authority, method, route, target = asked
    return open_head(authority, method.encode("ascii"), route.upstream_target(target))


def _is_short(asked: _Asked) -> bool:
    return len(asked[-1].raw) <= _LONGEST_KEPT


_openings = Kept(_open, is_small=_is_short, most=_MOST_KEPT)


# The same for every request of a client to a route. A host is at most a few hundred bytes: what is kept is small.
@lru_cache(maxsize=4096)
def _origin(source: str, scheme: str, host: bytes, prefix: bytes) -> bytes:
    """The lines about where a request comes from."""
    known, proto = parse_source(source), scheme.encode()
    lines, count = _ORIGIN % (known.node, proto, host, known.encoded, proto, host), _ORIGIN_COUNT
    if prefix:
        lines, count = lines + _PREFIX % prefix, count + 1
    require_lines(lines, count)
    return lines
