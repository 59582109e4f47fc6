"""The header block an upstream receives."""

from __future__ import annotations

import msgspec
import pytest

from gateway import outbound, paths, routes
from gateway.stages.admit import Admitted
from gateway.stages.match_route import Routed
from tests.support.stage_values import PUBLIC, REQUEST_ID, SOURCE, admitted, asserted, changed

TRACE = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-00"


@pytest.fixture(autouse=True, params=["request_for_any", "request_for_ordinary"])
def _either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interpreted throughout, and compiled where it can be."""
    if request.param == "request_for_ordinary":
        request.getfixturevalue("compiled_room")
    monkeypatch.setattr(outbound, "request_for", getattr(outbound, request.param))


def block(
    *sent: tuple[bytes, bytes],
    via_proxy: bool = False,
    source: str = SOURCE,
    assertion: str | None = None,
    route: routes.Route = PUBLIC,
) -> list[tuple[bytes, bytes]]:
    request = admitted(*sent, via_proxy=via_proxy, source=source)
    prepared = outbound.request_for(
        b"upstream.test", asserted(request, route, assertion), Routed(request, route), b""
    )
    _, host, *lines = prepared.first.removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert host == b"host: upstream.test"
    return [parse(line) for line in lines]


def parse(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b": ")
    return name, value


def test_the_upstream_is_told_the_gateways_view_once() -> None:
    """Who sent it, by which name of the gateway it came, and from where; what the client said is not in it."""
    told = block((b"accept", b"a"), assertion="signed")
    assert told[0] == (b"accept", b"a")
    assert dict(told[1:]) == {
        b"portreeve-request-id": REQUEST_ID.encode(),
        b"portreeve-identity": b"signed",
        b"traceparent": b"00-" + REQUEST_ID.encode() + b"-" + REQUEST_ID[16:].encode() + b"-01",
        b"forwarded": b'for=203.0.113.9;proto=http;host="gateway.example"',
        b"x-forwarded-for": b"203.0.113.9",
        b"x-forwarded-proto": b"http",
        b"x-forwarded-host": b"gateway.example",
    }
    assert len(told) == len(dict(told))


def test_a_strangers_claims_about_the_past_are_not_passed_on() -> None:
    """Forwarding and trace headers of an untrusted peer are replaced, not extended."""
    claims = [
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"x-forwarded-proto", b"https"),
        (b"forwarded", b"for=10.0.0.1"),
        (b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"),
        (b"tracestate", b"x=1"),
    ]
    told = dict(block(*claims))
    assert told[b"x-forwarded-for"] == b"203.0.113.9"
    assert told[b"x-forwarded-proto"] == b"http"
    assert REQUEST_ID.encode() in told[b"traceparent"]
    assert b"tracestate" not in told


def test_a_trusted_proxys_trace_and_scheme_go_on() -> None:
    """The trace keeps its id and gets a new parent."""
    claims = [
        (b"x-forwarded-proto", b"https"),
        (b"traceparent", TRACE),
        (b"tracestate", b"x=1"),
    ]
    told = dict(block(*claims, via_proxy=True))
    assert told[b"x-forwarded-proto"] == b"https"
    assert told[b"traceparent"].startswith(b"00-" + b"a" * 32 + b"-")
    assert b"b" * 16 not in told[b"traceparent"]
    assert told[b"traceparent"].endswith(b"-00")
    assert told[b"tracestate"] == b"x=1"


@pytest.mark.parametrize("claimed", [b"gopher", b"https, http", b'"'])
def test_a_scheme_is_http_or_https(claimed: bytes) -> None:
    """Even a trusted proxy injects nothing into Forwarded."""
    told = dict(block((b"x-forwarded-proto", claimed), via_proxy=True))
    assert told[b"x-forwarded-proto"] == b"http"


def test_a_malformed_trace_begins_anew() -> None:
    """Also from a trusted proxy."""
    told = dict(block((b"traceparent", b"00-zz"), via_proxy=True))
    assert REQUEST_ID.encode() in told[b"traceparent"]


def test_an_ipv6_source_is_quoted_in_forwarded() -> None:
    """As RFC 7239 wants it."""
    told = dict(block(source="2001:db8::1"))
    assert told[b"forwarded"].startswith(b'for="[2001:db8::1]";')


def test_a_stripped_prefix_is_told() -> None:
    """So that an upstream can write addresses that lead back through the gateway."""
    route = msgspec.structs.replace(PUBLIC, strip_prefix=b"/paper/v1")
    assert dict(block(route=route))[b"x-forwarded-prefix"] == b"/paper/v1"
    assert b"x-forwarded-prefix" not in dict(block())


@pytest.mark.parametrize("assertion", [None, "signed"])
def test_a_value_that_brings_a_line_of_its_own_is_refused(assertion: str | None) -> None:
    """Lines are counted by the names that they should hold, whatever their values bring."""
    request = admitted((b"traceparent", TRACE), (b"tracestate", b"a\r\nx: b"), via_proxy=True)
    with pytest.raises(ValueError, match="header"):
        outbound.request_for(b"u", asserted(request, PUBLIC, assertion), Routed(request, PUBLIC), b"")


def test_a_host_or_a_prefix_that_brings_a_line_of_its_own_is_refused() -> None:
    """What is kept was looked at when it was made, whoever had proved it before."""
    request = admitted()
    host = msgspec.structs.replace(request.headers, host=b"a\r\nx: b")
    injected = msgspec.structs.replace(request, headers=host)
    prefixed = msgspec.structs.replace(PUBLIC, strip_prefix=b"/a\r\nx: b")
    for spoilt, route in ((injected, PUBLIC), (request, prefixed)):
        with pytest.raises(ValueError, match="header"):
            outbound.request_for(b"u", asserted(spoilt, route), Routed(spoilt, route), b"")


def opening(authority: bytes, request: Admitted, route: routes.Route) -> tuple[bytes, bytes]:
    """The first two lines of what is sent."""
    prepared = outbound.request_for(authority, asserted(request, route), Routed(request, route), b"")
    line, host, _ = prepared.first.split(b"\r\n", 2)
    return line, host


def asked(target: bytes, method: str = "GET") -> Admitted:
    request = admitted()
    arrival = changed(request.arrival, method=method)
    return msgspec.structs.replace(request, arrival=arrival, target=paths.canonical_target(target))


def test_what_is_kept_of_a_request_line_is_for_the_same_request_only() -> None:
    """Upstream, method, route and target each make another one, also the second time."""
    stripped = msgspec.structs.replace(PUBLIC, strip_prefix=b"/a")
    for _ in range(2):
        assert opening(b"u", asked(b"/a/b"), PUBLIC) == (b"GET /a/b HTTP/1.1", b"host: u")
        assert opening(b"v", asked(b"/a/b"), PUBLIC) == (b"GET /a/b HTTP/1.1", b"host: v")
        assert opening(b"u", asked(b"/a/b", "HEAD"), PUBLIC) == (b"HEAD /a/b HTTP/1.1", b"host: u")
        assert opening(b"u", asked(b"/a/b"), stripped) == (b"GET /b HTTP/1.1", b"host: u")
        assert opening(b"u", asked(b"/a/b?c"), PUBLIC) == (b"GET /a/b?c HTTP/1.1", b"host: u")


def test_request_lines_are_kept_bounded_in_number_and_size() -> None:
    """Strangers choose targets."""
    for number in range(1_100):
        opening(b"u", asked(b"/%d" % number), PUBLIC)
    assert len(outbound._openings) == 1_024
    long = asked(b"/" + b"a" * 300)
    assert opening(b"u", long, PUBLIC)[0] == b"GET /" + b"a" * 300 + b" HTTP/1.1"
    assert (b"u", "GET", PUBLIC, long.target) not in outbound._openings
