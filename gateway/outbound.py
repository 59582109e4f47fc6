"""The header block an upstream receives: what the client sent and may pass, then what the gateway vouches for.

Invariant: the gateway's own headers come last and once; nothing the client sent can stand in their place.
"""

from __future__ import annotations

import re
from secrets import token_hex

from gateway.stages.admit import Admitted
from gateway.stages.assert_identity import Asserted

Header = tuple[bytes, bytes]

_TRACEPARENT = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})")


def headers_for(asserted: Asserted, authority: bytes) -> list[Header]:
    admitted = asserted.counted.authorized.authenticated.routed.admitted
    request_id = admitted.arrival.request_id.encode()
    outbound = [(b"host", authority), *admitted.headers.passed, (b"portreeve-request-id", request_id)]
    if asserted.assertion is not None:
        outbound.append((b"portreeve-identity", asserted.assertion.encode()))
    outbound += _trace_context(admitted, request_id)
    outbound += _forwarded(asserted)
    return outbound


def _trace_context(admitted: Admitted, request_id: bytes) -> list[Header]:
    """A trace begins here, unless a trusted proxy began it."""
    if admitted.via_proxy:
        inherited = dict(admitted.headers.proxied)
        match = _TRACEPARENT.fullmatch(inherited.get(b"traceparent", b""))
        if match is not None:
            parent = (b"traceparent", b"00-%b-%b-%b" % (match[1], token_hex(8).encode(), match[2]))
            state = inherited.get(b"tracestate")
            return [parent] if state is None else [parent, (b"tracestate", state)]
    return [(b"traceparent", b"00-%b-%b-01" % (request_id, request_id[16:]))]


def _forwarded(asserted: Asserted) -> list[Header]:
    admitted = asserted.counted.authorized.authenticated.routed.admitted
    host, scheme = admitted.headers.host, admitted.arrival.scheme.encode()
    if admitted.via_proxy:
        inherited = dict(admitted.headers.proxied)
        claimed = inherited.get(b"x-forwarded-proto", scheme)
        scheme = claimed if claimed in {b"http", b"https"} else scheme
    prefix = asserted.counted.authorized.authenticated.routed.route.strip_prefix
    stripped = [(b"x-forwarded-prefix", prefix)] if prefix else []
    return [
        *stripped,
        (b"forwarded", b'for=%b;proto=%b;host="%b"' % (admitted.source.node, scheme, host)),
        (b"x-forwarded-for", admitted.source.encoded),
        (b"x-forwarded-proto", scheme),
        (b"x-forwarded-host", host),
    ]
