"""Which route a request takes."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

from gateway import patterns, settings
from gateway.paths import canonical_target
from gateway.patterns import InvalidPattern
from gateway.routes import MethodNotAllowed, NoRoute, Route, RouteTable, compile_routes
from gateway.upstream import Timeouts

DEMO = Path("gateway/demo/portreeve.toml")


def route(name: str, pattern: str, *methods: str, host: str | None = None, strip: bytes = b"") -> Route:
    return Route(
        name=name,
        pattern=pattern,
        methods=methods or ("GET",),
        environment="paper",
        upstream="trading",
        permission="orders:read",
        trading=False,
        timeouts=Timeouts(),
        host=host,
        strip_prefix=strip,
    )


def find(table: RouteTable, path: str, *, method: str = "GET", host: str | None = None) -> str | None:
    try:
        return table.match(None if host is None else host.encode(), method, path).name
    except NoRoute:
        return None


SPECIFICITY = RouteTable(
    [
        route("literal", "/v1/orders/open"),
        route("one", "/v1/orders/{id}"),
        route("one-then-literal", "/v1/orders/{id}/fills"),
        route("literal-then-one", "/v1/orders/open/{part}"),
        route("below", "/v1/orders/**"),
        route("everything", "/v1/**"),
        route("slash", "/v1/slash/"),
        route("one-slash", "/v1/{kind}/list/"),
        route("root", "/"),
    ]
)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/orders/open", "literal"),
        ("/v1/orders/7", "one"),
        ("/v1/orders/7/fills", "one-then-literal"),
        ("/v1/orders/open/fills", "literal-then-one"),
        ("/v1/orders/open/a/b", "below"),
        ("/v1/orders/7/fills/2", "below"),
        ("/v1/orders", "everything"),
        ("/v1/orders/", "everything"),
        ("/v1/orders/7/", "below"),
        ("/v1/slash/", "slash"),
        ("/v1/slash", "everything"),
        ("/v1/x/list/", "one-slash"),
        ("/v1", None),
        ("/v1/", None),
        ("/v2/orders", None),
        ("/V1/orders/open", None),
        ("/", "root"),
    ],
)
def test_the_most_specific_pattern_wins(path: str, name: str | None) -> None:
    """Literal before one segment before the rest, from the left; a slash at the end is another path."""
    assert find(SPECIFICITY, path) == name


def test_a_path_belongs_to_its_most_specific_pattern_for_every_method() -> None:
    """A method that it does not list is refused; a wider pattern does not get the request instead."""
    table = RouteTable([route("open", "/orders/open", "GET"), route("any", "/orders/**", "GET", "DELETE")])
    with pytest.raises(MethodNotAllowed) as caught:
        table.match(None, "DELETE", "/orders/open")
    assert caught.value.allow == ("GET",)


def test_routes_of_one_pattern_share_it_by_method() -> None:
    """The refusal lists all methods that any of them takes, in order."""
    table = RouteTable([route("create", "/orders", "POST"), route("list", "/orders", "GET")])
    assert find(table, "/orders") == "list"
    assert find(table, "/orders", method="POST") == "create"
    with pytest.raises(MethodNotAllowed) as caught:
        table.match(None, "PUT", "/orders")
    assert caught.value.allow == ("GET", "POST")


@pytest.mark.parametrize("method", ["HEAD", "get", "OPTIONS", ""])
def test_no_method_is_implied_by_get(method: str) -> None:
    """What is not listed is not served, HEAD included, and methods are case-sensitive."""
    with pytest.raises(MethodNotAllowed):
        RouteTable([route("list", "/orders")]).match(None, method, "/orders")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("paper.example", "paper"),
        ("PAPER.Example", "paper"),
        ("paper.example:8080", "paper"),
        ("paper.example:", "paper"),
        ("paper.example.evil", "any"),
        ("evil.paper.example", "any"),
        ("[::1]", "loopback"),
        ("[::1]:8080", "loopback"),
        ("", "any"),
        (None, "any"),
    ],
)
def test_a_host_is_compared_whole_without_case_and_port(host: str | None, name: str) -> None:
    """Routes for the host come first; a host that only looks like it is any host."""
    table = RouteTable(
        [
            route("any", "/orders"),
            route("paper", "/orders", host="Paper.example"),
            route("loopback", "/orders", host="[::1]"),
        ]
    )
    assert find(table, "/orders", host=host) == name


def test_a_host_falls_back_to_routes_for_any() -> None:
    """Only for paths that it has no pattern for itself."""
    table = RouteTable([route("any", "/orders/{id}"), route("paper", "/positions", host="paper.example")])
    assert find(table, "/orders/1", host="paper.example") == "any"


def test_a_query_can_satisfy_no_pattern() -> None:
    """The path alone is matched, so nothing behind the question mark counts."""
    table = RouteTable([route("secret", "/a/{x}/secret"), route("below", "/b/**")])
    for raw in (b"/a?/x/secret", b"/a/x?/secret", b"/b?/c", b"/b/?c"):
        assert find(table, canonical_target(raw).path) is None


def test_an_escaped_segment_is_matched_as_sent() -> None:
    """`%40` is not `@` here, so it cannot reach a route that says `@`."""
    table = RouteTable([route("at", "/a/@me"), route("one", "/a/{id}")])
    assert find(table, "/a/@me") == "at"
    assert find(table, "/a/%40me") == "one"


@pytest.mark.parametrize(
    ("raw", "strip", "expected"),
    [
        (b"/paper/v1/orders", b"/paper/v1", b"/orders"),
        (b"/paper/v1/orders?", b"/paper/v1", b"/orders?"),
        (b"/paper/v1/orders?b=2&a=1&a=%zz?", b"/paper/v1", b"/orders?b=2&a=1&a=%zz?"),
        (b"/paper/v1/ord%20one/", b"/paper/v1", b"/ord%20one/"),
        (b"/paper/v1", b"/paper/v1", b"/"),
        (b"/paper/v1?a", b"/paper/v1", b"/?a"),
        (b"/paper/v1/orders", b"", b"/paper/v1/orders"),
    ],
)
def test_the_upstream_gets_what_was_sent_without_the_prefix(
    raw: bytes, strip: bytes, expected: bytes
) -> None:
    """Not a byte of path or query changes on the way."""
    assert route("r", "/x", strip=strip).upstream_target(canonical_target(raw)) == expected


def test_refuses_two_routes_for_one_request() -> None:
    """Names of parameters tell no patterns apart; which route it was must never depend on their order."""
    with pytest.raises(ValueError, match="b and a are the same route"):
        RouteTable([route("a", "/orders/{id}"), route("b", "/orders/{name}")])


@pytest.mark.parametrize("path", ["/p250/static", "/p250/7/detail", "/p250/a/b/c", "/nowhere"])
def test_five_hundred_routes_take_the_steps_of_five(path: str) -> None:
    """A match does the same number of calls however many routes stand beside the one it finds."""
    few = RouteTable(_many(range(250, 252)))
    many = RouteTable(_many(range(167)))
    wanted = path.replace("250", "166")
    assert _count_calls(lambda: find(many, wanted)) == _count_calls(lambda: find(few, path))


def _many(numbers: range) -> list[Route]:
    return [
        route(f"{kind}-{number}", f"/p{number}/{kind}")
        for number in numbers
        for kind in ("static", "{id}/detail", "**")
    ]


def _count_calls(work: Callable[[], object]) -> int:
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no path can match"),
        ("orders", "no path can match"),
        ("/a//b", "no path can match"),
        ("/a/../b", "no path can match"),
        ("/a;b", "no path can match"),
        ("/a%2Fb", "no path can match"),
        ("/é", "no path can match"),
        ("/a?b", "has no query"),
        ("/a/x{id}", "as a whole"),
        ("/a/{}", "as a whole"),
        ("/a/{Id}", "as a whole"),
        ("/a/*", "as a whole"),
        ("/a/**/b", "as a whole"),
        ("/a/b**", "as a whole"),
        ("/a/{x}/{x}", "the same name"),
        ("/{x}/a", "first segment has to be literal"),
        ("/**", "first segment has to be literal"),
        ("/edge/v1/mine", '"/edge" is kept'),
        ("/oauth/token", '"/oauth" is kept'),
        ("/control/**", '"/control" is kept'),
        ("/console", '"/console" is kept'),
        ("/health/live", '"/health" is kept'),
        ("/metrics", '"/metrics" is kept'),
        ("/metrics/{x}", '"/metrics" is kept'),
        ("/.well-known/x", '"/.well-known" is kept'),
    ],
)
def test_refuses_a_pattern_that_could_not_be_kept(text: str, complaint: str) -> None:
    """A pattern that no path can match, or that reaches for the gateway's own paths, is a mistake."""
    with pytest.raises(InvalidPattern, match=complaint):
        patterns.parse(text)


@pytest.mark.parametrize(
    ("prefix", "whole"),
    [
        ("/a", True),
        ("/a/b", True),
        ("/a/b/{c}", False),
        ("/a/", False),
        ("/a/bb", False),
        ("/", False),
        ("a", False),
        ("", False),
        ("/x", False),
    ],
)
def test_a_prefix_is_made_of_whole_literal_segments(prefix: str, whole: bool) -> None:
    """Half a segment, or a wild one, would leave the upstream a path that nobody wrote."""
    assert patterns.is_prefix(prefix, "/a/b/{c}/d") is whole


def test_the_demo_serves_what_the_contract_lists() -> None:
    """Paper and live are the same routes to different upstreams; one public echo is open to all."""
    table = compile_routes(settings.load(DEMO))
    for environment in ("paper", "live"):
        for method, path in (
            ("GET", "orders"), ("POST", "orders"), ("GET", "orders/ord_1"), ("DELETE", "orders/ord_1"),
            ("GET", "positions"), ("PATCH", "echo"), ("PUT", "echo/a/b"), ("GET", "slow"),
            ("GET", "stream-bytes"),
        ):  # fmt: skip
            found = table.match(b"h", method, f"/{environment}/v1/{path}")
            assert (found.environment, found.upstream) == (environment, f"{environment}-trading")
            assert found.permission is not None
            target = canonical_target(f"/{environment}/v1/{path}?".encode())
            assert found.upstream_target(target) == f"/{path}?".encode()
    create = table.match(b"h", "POST", "/live/v1/orders")
    assert create.bind_request
    assert create.trading
    assert [limit.name for limit in create.limits] == ["orders-create"]
    assert not table.match(b"h", "GET", "/live/v1/orders").trading
    public = table.match(b"h", "POST", "/public/v1/echo/x")
    assert (public.public, public.permission) == (True, None)


def test_whoami_is_a_local_route_of_its_own() -> None:
    """It asks for a verified caller and nothing more, and is left out where the edge is not served."""
    configured = settings.load(DEMO)
    whoami = compile_routes(configured).match(b"h", "GET", "/edge/v1/whoami")
    assert whoami.is_local
    assert (whoami.public, whoami.permission, whoami.environment) == (False, None, None)
    with pytest.raises(NoRoute):
        compile_routes(configured, whoami=False).match(b"h", "GET", "/edge/v1/whoami")


def test_every_kind_of_pattern_of_a_host_comes_before_those_of_any() -> None:
    """Literal or not, on either side; and what the host has no pattern for falls to those of any."""
    table = RouteTable(
        [
            route("host-literal", "/a/b", host="one.example"),
            route("host-wild", "/a/{id}", host="one.example"),
            route("any-literal", "/a/c"),
            route("any-wild", "/a/**"),
        ]
    )
    on_host = [find(table, path, host="one.example:443") for path in ("/a/b", "/a/c", "/a/x/y", "/b")]
    assert on_host == ["host-literal", "host-wild", "any-wild", None]
    for elsewhere in ("two.example", "", None):
        found = [find(table, path, host=elsewhere) for path in ("/a/b", "/a/c", "/b")]
        assert found == ["any-wild", "any-literal", None]
