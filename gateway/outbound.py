"""The header lines an upstream receives from the gateway itself: what it vouches for, about whom and from where.

Invariant: each is written once, and nothing of the client's can stand in its place: a client's header of one of
these names has been taken out by `admit`.
"""

from __future__ import annotations

import re
from secrets import token_hex

from gateway.stages.admit import Admitted
from gateway.stages.assert_identity import Asserted

Header = tuple[bytes, bytes]

# One piece of formatting rather than a list of headers that the leg would have to join again.
_ALWAYS = (
    b"portreeve-request-id: %b\r\n"
    b'forwarded: for=%b;proto=%b;host="%b"\r\n'
    b"x-forwarded-for: %b\r\n"
    b"x-forwarded-proto: %b\r\n"
    b"x-forwarded-host: %b\r\n"
    b"traceparent: %b\r\n"
)
_ALWAYS_COUNT = _ALWAYS.count(b"\n")
_TRACEPARENT = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")


def lines_for(asserted: Asserted) -> tuple[bytes, int]:
    """The lines, and how many they are by the names in them, so that whoever sends them can count again."""
    routed = asserted.counted.authorized.authenticated.routed
    admitted = routed.admitted
    request_id = admitted.arrival.request_id.encode()
    scheme, host, source = admitted.arrival.scheme.encode(), admitted.headers.host, admitted.source
    # A trace begins here, unless a trusted proxy began it.
    parent, state = b"00-%b-%b-01" % (request_id, request_id[16:]), None
    if admitted.via_proxy:
        scheme, parent, state = _inherited(admitted, scheme, parent)
    lines = _ALWAYS % (request_id, source.node, scheme, host, source.encoded, scheme, host, parent)
    count = _ALWAYS_COUNT
    if asserted.assertion is not None:
        lines += b"portreeve-identity: %b\r\n" % asserted.assertion.encode()
        count += 1
    if routed.route.strip_prefix:
        lines += b"x-forwarded-prefix: %b\r\n" % routed.route.strip_prefix
        count += 1
    if state is not None:
        lines += b"tracestate: %b\r\n" % state
        count += 1
    return lines, count


def _inherited(admitted: Admitted, scheme: bytes, parent: bytes) -> tuple[bytes, bytes, bytes | None]:
    """What a trusted proxy knows better: the scheme by which the client came, and the trace it is part of."""
    proxied = dict(admitted.headers.proxied)
    claimed = proxied.get(b"x-forwarded-proto", scheme)
    scheme = claimed if claimed in {b"http", b"https"} else scheme
    match = _TRACEPARENT.fullmatch(proxied.get(b"traceparent", b""))
    if match is None:
        return scheme, parent, None
    parent = b"00-%b-%b-%b" % (match[1], token_hex(8).encode(), match[2])
    return scheme, parent, proxied.get(b"tracestate")
