"""The header block an upstream receives."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from auth.admission import Admitted as Counts
from gateway import headers, outbound, paths, routes
from gateway.arrival import Arrival
from gateway.stages.admit import Admitted
from gateway.stages.admit_once import Counted
from gateway.stages.assert_identity import Asserted
from gateway.stages.authenticate import EMPTY_SHA256, Authenticated
from gateway.stages.authorize import Authorized
from gateway.stages.match_route import Routed
from gateway.trace import Trace
from gateway.upstream import Timeouts

REQUEST_ID = "0123456789abcdef0123456789abcdef"
ROUTE = routes.Route(
    name="r",
    pattern="/a",
    methods=("GET",),
    environment="paper",
    upstream="paper",
    permission=None,
    trading=False,
    timeouts=Timeouts(),
    public=True,
)


async def nothing() -> dict[str, Any]:
    return {"type": "http.disconnect"}


def asserted(
    *sent: tuple[bytes, bytes],
    via_proxy: bool = False,
    source: str = "203.0.113.9",
    assertion: str | None = None,
) -> Asserted:
    received = [(b"host", b"gateway.example"), *sent]
    arrival = Arrival(
        request_id=REQUEST_ID, at_ms=0, method="GET", target=b"/a", headers=received, peer=source, scheme="http",
        http_version="1.1", oversized=None, receive=nothing, trace=Trace(REQUEST_ID, "GET"),
    )  # fmt: skip
    admitted = Admitted(
        arrival, paths.canonical_target(b"/a"), headers.read(received), ip_address(source), via_proxy
    )
    authenticated = Authenticated(Routed(admitted, ROUTE), None, None, b"", EMPTY_SHA256)
    return Asserted(Counted(Authorized(authenticated, None), Counts(())), assertion)


def test_the_upstream_is_told_the_gateways_view_once() -> None:
    """Host is the upstream's; the client's host, address and scheme are in the forwarding headers."""
    block = outbound.headers_for(asserted((b"accept", b"a"), assertion="signed"), b"upstream:8081")
    assert dict(block) == {
        b"host": b"upstream:8081",
        b"accept": b"a",
        b"portreeve-request-id": REQUEST_ID.encode(),
        b"portreeve-identity": b"signed",
        b"traceparent": b"00-" + REQUEST_ID.encode() + b"-" + REQUEST_ID[16:].encode() + b"-01",
        b"forwarded": b'for=203.0.113.9;proto=http;host="gateway.example"',
        b"x-forwarded-for": b"203.0.113.9",
        b"x-forwarded-proto": b"http",
        b"x-forwarded-host": b"gateway.example",
    }
    assert len(block) == len(dict(block))


def test_a_strangers_claims_about_the_past_are_not_passed_on() -> None:
    """Forwarding and trace headers of an untrusted peer are replaced, not extended."""
    claims = [
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"x-forwarded-proto", b"https"),
        (b"forwarded", b"for=10.0.0.1"),
        (b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"),
        (b"tracestate", b"x=1"),
    ]
    block = dict(outbound.headers_for(asserted(*claims), b"u"))
    assert block[b"x-forwarded-for"] == b"203.0.113.9"
    assert block[b"x-forwarded-proto"] == b"http"
    assert REQUEST_ID.encode() in block[b"traceparent"]
    assert b"tracestate" not in block


def test_a_trusted_proxys_trace_and_scheme_go_on() -> None:
    """The trace keeps its id and gets a new parent."""
    claims = [
        (b"x-forwarded-proto", b"https"),
        (b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-00"),
        (b"tracestate", b"x=1"),
    ]
    block = dict(outbound.headers_for(asserted(*claims, via_proxy=True), b"u"))
    assert block[b"x-forwarded-proto"] == b"https"
    assert block[b"traceparent"].startswith(b"00-" + b"a" * 32 + b"-")
    assert b"b" * 16 not in block[b"traceparent"]
    assert block[b"traceparent"].endswith(b"-00")
    assert block[b"tracestate"] == b"x=1"


@pytest.mark.parametrize("claimed", [b"gopher", b"https, http", b'"'])
def test_a_scheme_is_http_or_https(claimed: bytes) -> None:
    """Even a trusted proxy injects nothing into Forwarded."""
    block = dict(outbound.headers_for(asserted((b"x-forwarded-proto", claimed), via_proxy=True), b"u"))
    assert block[b"x-forwarded-proto"] == b"http"


def test_a_malformed_trace_begins_anew() -> None:
    """Also from a trusted proxy."""
    block = dict(outbound.headers_for(asserted((b"traceparent", b"00-zz"), via_proxy=True), b"u"))
    assert REQUEST_ID.encode() in block[b"traceparent"]


def test_an_ipv6_source_is_quoted_in_forwarded() -> None:
    """As RFC 7239 wants it."""
    block = dict(outbound.headers_for(asserted(source="2001:db8::1"), b"u"))
    assert block[b"forwarded"].startswith(b'for="[2001:db8::1]";')
