"""Hazards, "Paths, headers, framing": one canonical path, or none."""

from __future__ import annotations

import pytest

from tests.support import rawhttp
from tests.support.gateway import Deployment
from tests.support.signing import plain_request

# What follows a prefix that leads to an upstream, on a public and on a signed route alike.
TRICKS = [
    b"/../../admin/x",
    b"/..",
    b"/.",
    b"/./x",
    b"/x/../../../admin/y",
    b"/%2e%2e/%2e%2e/admin/x",
    b"/%2E%2E/admin",
    b"/.%2e/admin",
    b"/%2e/x",
    b"/...%2f..",
    b"//admin/x",
    b"/x//y",
    b"/.;/admin",
    b"/..;/admin",
    b"/x;y=z",
    b"/x;",
    b"/%3Bx",
    b"/%3bx",
    b"/x%2Fy",
    b"/x%2fy",
    b"/%2F%2Fadmin",
    b"/x%5Cy",
    b"/x%5cy",
    b"/..%5Cadmin",
    b"/x\\y",
    b"/..\\admin",
    b"/x%00",
    b"/%00/admin",
    b"/x%3Fy=1",
    b"/x%3fy",
    b"/x%23y",
    b"/x%252e%252e/admin",
    b"/x%252Fadmin",
    b"/x%0d%0aX-A:%20b",
    b"/x%0A",
    b"/x%",
    b"/x%2",
    b"/x%zz",
    b"/x%u002e",
    b"/x%c0%ae%c0%ae/admin",
    b"/x%C0%AF",
    b"/x%41",
    b"/x%7E",
    b"/x#y",
    b"/x#/../../admin",
    b"/\xc3\xa9",
    b"/\xff",
    b"/x\x7f",
    b'/x"y',
    b"/x<y>",
    b"/x{y}",
    b"/x|y",
    b"/x^y",
    b"/x`y",
]
WHOLE = [
    b"//pub/x",
    b"//admin/x",
    b"/pub/../admin/x",
    b"/%70ub/x",
    b"/%61dmin/x",
    b"/./pub/x",
    b"pub/x",
    b"*",
    b"?x",
    b"http://gateway.test/pub/x",
    b"HTTP://gateway.test/pub/x",
    b"http://other.test/pub/x",
    b"http://u:p@gateway.test/pub/x",
    b"https://gateway.test/pub/x",
    b"file:///etc/passwd",
    b"gateway.test:80",
    b"gateway.test",
    b"/pub/x?a#b",
    b"/pub/x?\xc3\xa9",
]
PREFIXES = [b"/pub", b"/paper/v1/echo"]


def refused(edge: Deployment, answer: rawhttp.Answer) -> None:
    assert answer.status == 400, str(answer)
    assert answer.code in {"malformed_path", "malformed_request"}, str(answer)
    assert not edge.paper.received, "it reached the upstream"


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("trick", TRICKS)
def test_a_path_that_is_not_canonical_is_refused(edge: Deployment, prefix: bytes, trick: bytes) -> None:
    """No second spelling of a path is served, rightly signed or not, below a public or a stripped prefix."""
    signed = edge.key().headers("GET", prefix + trick)
    refused(edge, edge.node.ask(plain_request("GET", prefix + trick, signed)))
    refused(edge, edge.node.ask(plain_request("GET", prefix + trick)))


@pytest.mark.parametrize("target", WHOLE)
def test_a_target_that_is_not_of_the_origin_form_is_refused(edge: Deployment, target: bytes) -> None:
    """Absolute form, authority form, asterisk and fragments are refused, not rewritten."""
    refused(edge, edge.node.ask(plain_request("GET", target, edge.key().headers("GET", target))))


@pytest.mark.parametrize(
    "line",
    [
        b"GET /pub/a b HTTP/1.1",
        b"GET /pub/a?b c HTTP/1.1",
        b"GET /pub/a\tb HTTP/1.1",
        b"GET /pub/a\x00b HTTP/1.1",
        b"GET\t/pub/a HTTP/1.1",
        b"GET /pub/a",
    ],
)
def test_a_request_line_that_splits_in_two_ways_is_refused(edge: Deployment, line: bytes) -> None:
    """A raw space, tab or NUL in the target ends the request, not the target."""
    answer = edge.node.ask(line + b"\r\nHost: gateway.test\r\n\r\n")
    assert answer.status == 400, str(answer)
    assert not edge.paper.received


def test_a_request_line_with_two_spaces_is_refused_or_means_the_same(edge: Deployment) -> None:
    """Between method and target there is one space; a reader that takes more sees the same target."""
    answer = edge.node.ask(b"GET  /pub/a HTTP/1.1\r\nHost: gateway.test\r\n\r\n")
    assert answer.status in {200, 400}, str(answer)
    assert {request.target for request in edge.paper.requests} <= {b"/pub/a"}


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "TRACK", "PRI", "get", "BREW", "LINK"])
@pytest.mark.parametrize("target", [b"/pub/x", b"gateway.test:443", b"/nowhere", b"*"])
def test_methods_that_no_route_takes_are_refused(edge: Deployment, method: str, target: bytes) -> None:
    """CONNECT, TRACE and made-up methods never reach an upstream and never break the connection's framing."""
    answer = edge.node.ask(plain_request(method, target))
    assert answer.status in {400, 404, 405}, str(answer)
    assert answer.code is not None
    assert not edge.paper.received
    assert edge.node.is_alive()


@pytest.mark.parametrize(
    "target", [b"/nowhere?/pub/x", b"/?/pub/x", b"/admin?x=/pub/x", b"/paper/v1?/echo", b"/paper?/v1/echo"]
)
def test_a_query_never_satisfies_a_path_pattern(edge: Deployment, target: bytes) -> None:
    """Only the path routes: what stands behind the question mark opens nothing."""
    answer = edge.node.ask(plain_request("GET", target, edge.key().headers("GET", target)))
    assert answer.code == "no_route", str(answer)
    assert not edge.paper.received


@pytest.mark.parametrize(
    "target",
    [
        b"/pub/a?b=c&d",
        b"/pub/a?",
        b"/pub/a??b",
        b"/pub/a?x=/../admin",
        b"/pub/a?%2e%2e%2f",
        b"/pub/a?x=%zz",
        b"/pub/%C3%A9",
        b"/pub/a@b:c,d=e+f!g$h&i'j(k)*",
        b"/pub/...",
    ],
)
def test_a_canonical_target_reaches_the_upstream_byte_for_byte(edge: Deployment, target: bytes) -> None:
    """What was sent and signed is what the upstream sees: nothing is decoded, sorted or rewritten."""
    answer = edge.node.ask(plain_request("GET", target))
    assert answer.status == 200, str(answer)
    assert edge.paper.requests[-1].target == target


def test_a_stripped_prefix_leaves_the_rest_untouched(edge: Deployment) -> None:
    """Stripping cuts whole leading segments, and the query stays as it was signed."""
    target = b"/paper/v1/echo/%C3%A9/x?b=2&a=1&b=%2F"
    assert edge.node.ask(edge.key().request("GET", target)).status == 200
    assert edge.paper.requests[-1].target == b"/echo/%C3%A9/x?b=2&a=1&b=%2F"


@pytest.mark.parametrize(
    "target",
    [b"/PAPER/v1/echo", b"/paper/v1/echo.", b"/paper/v1/echo/", b"/Admin/x", b"/admin", b"/paper/v1"],
)
def test_a_path_that_only_resembles_a_route_does_not_match_it(edge: Deployment, target: bytes) -> None:
    """Letter case, a trailing dot or slash make another path, and another path is no route."""
    answer = edge.node.ask(plain_request("GET", target, edge.key().headers("GET", target)))
    assert answer.code == "no_route", str(answer)


def test_nobody_holds_what_the_trap_route_asks_for(edge: Deployment) -> None:
    """The route that the attacks aim at is shut to a good key, by its plain name."""
    answer = edge.node.ask(edge.key().request("GET", b"/admin/x"))
    assert answer.code == "permission_denied", str(answer)
