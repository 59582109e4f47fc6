"""Which route a request takes, compiled once from the configuration.

Invariant: only canonical paths are matched, as sent and never decoded, and a query has no part in it. The
most specific pattern has a path to itself for every method: literal before `{name}` before `**`, from the
left; a method it does not list is refused, not passed on to a wider pattern. Patterns for the request's host
come before those for any host. HEAD is not implied by GET. How many routes there are does not matter to how
long a match takes.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Self

from msgspec import Struct, structs

from gateway import patterns
from gateway.paths import Target
from gateway.settings.values import RouteSettings, Settings, TimeoutSettings
from gateway.upstream import Timeouts
from keys import refusals
from keys.environment import Environment, parse_environment
from policies import limits as limit_specs
from policies.decision import Requirement
from policies.gcra import Limit


class NoRoute(Exception):
    """No pattern matches the path."""


class UnknownRoute(refusals.NotFound):
    """No route of this name is configured."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no route {name!r:.80} in the configuration")


class MethodNotAllowed(Exception):
    """The path is served, but not for this method."""

    def __init__(self, allow: tuple[str, ...]) -> None:
        super().__init__(", ".join(allow))
        self.allow = allow


class Terms(Struct, frozen=True, eq=False):
    """What a route asks of a caller, charges it, and where it leads. Routes on the same terms share one value."""

    requirement: Requirement
    upstream: str
    cost: int
    limits: tuple[Limit, ...]
    # Whose limits these are: a route with limits of its own is on terms of its own.
    limited: str


# Shared, so that what is worked out for a caller is worked out once for hundreds of routes, and told apart by identity,
# which costs a look-up nothing. As many as the configuration has: past the bound, routes only share less.
_share_terms = lru_cache(maxsize=4096)(Terms)
_NO_TERMS = Terms(Requirement(permission=None, environment=None, trading=False), "", 0, (), "")


class Route(Struct, frozen=True, eq=False):
    """Everything the stages need to know. `is_local`: the gateway itself answers; there is no upstream.

    Told apart by identity, so that what was worked out for a route is found at once, and for no other of its name.
    """

    name: str
    pattern: str
    methods: tuple[str, ...]
    environment: Environment | None
    upstream: str
    permission: str | None
    trading: bool
    timeouts: Timeouts
    host: str | None = None
    public: bool = False
    cost: int = 1
    limits: tuple[Limit, ...] = ()
    strip_prefix: bytes = b""
    max_body_bytes: int = 0
    bind_request: bool = False
    is_local: bool = False
    # Of the gateway's own: one that the control surface answers.
    is_control: bool = False
    # Derived: whatever a caller passes is overwritten.
    terms: Terms = _NO_TERMS

    def __post_init__(self) -> None:
        requirement = Requirement(
            permission=self.permission, environment=self.environment, trading=self.trading
        )
        limited = self.name if self.limits else ""
        terms = _share_terms(requirement, self.upstream, self.cost, self.limits, limited)
        structs.force_setattr(self, "terms", terms)

    def upstream_target(self, target: Target) -> bytes:
        """The target as sent without the prefix: what follows, the query and even a bare "?", is verbatim."""
        rest = target.raw.removeprefix(self.strip_prefix)
        return rest if rest.startswith(b"/") else b"/" + rest


_Methods = dict[str, Route]


class _Node:
    """One segment's place in the tree of patterns that have a wild part."""

    __slots__ = ("any_one", "here", "literal", "rest")

    def __init__(self) -> None:
        self.literal: dict[str, Self] = {}
        self.any_one: Self | None = None
        self.here: _Methods | None = None
        self.rest: _Methods | None = None

    def grow(self, segment: str | None) -> Self:
        if segment is not None:
            return self.literal.setdefault(segment, type(self)())
        if self.any_one is None:
            self.any_one = type(self)()
        return self.any_one

    def find(self, segments: list[str], at: int) -> _Methods | None:
        """Visits no node twice, since each has one way to it: bounded by the patterns, not by the path."""
        if at == len(segments):
            return self.here
        segment = segments[at]
        child = self.literal.get(segment)
        found = None if child is None else child.find(segments, at + 1)
        # The empty segment after a slash at the end is nobody's `{name}`, and not by itself a `**`.
        if found is None and segment:
            if self.any_one is not None:
                found = self.any_one.find(segments, at + 1)
            if found is None:
                found = self.rest
        return found


class _Paths:
    """The patterns of one host, or of any."""

    def __init__(self, parse: Callable[[str], patterns.Pattern] = patterns.parse) -> None:
        self._parse = parse
        self.literal: dict[str, _Methods] = {}
        self._root = _Node()
        self._has_wild = False

    def add(self, route: Route) -> None:
        methods = self._methods_of(route.pattern)
        for method in route.methods:
            if method in methods:
                raise ValueError(f"{route.name} and {methods[method].name} are the same route")
            methods[method] = route

    def find(self, path: str) -> _Methods | None:
        methods = self.literal.get(path)
        if methods is None and self._has_wild:
            methods = self._root.find(path.split("/"), 1)
        return methods

    def _methods_of(self, text: str) -> _Methods:
        pattern = self._parse(text)
        if pattern.is_literal:
            return self.literal.setdefault(text, {})
        self._has_wild = True
        node = self._root
        for segment in pattern.segments:
            node = node.grow(segment)
        if pattern.rest:
            node.rest = {} if node.rest is None else node.rest
            return node.rest
        node.here = {} if node.here is None else node.here
        return node.here


class RouteTable:
    def __init__(self, routes: Iterable[Route], local: Iterable[Route] = ()) -> None:
        self._own = _Paths(patterns.parse_own)
        for route in local:
            self._own.add(route)
        self._any_host = _Paths()
        self._literal = self._any_host.literal
        self._hosts: dict[str, _Paths] = {}
        for route in routes:
            self._paths_of(route.host).add(route)

    def match(self, host: bytes | None, method: str, path: str) -> Route:
        methods = self._find_by_host(host, path) if self._hosts else self._literal.get(path)
        if methods is None:
            methods = self._find_by_path(path)
        route = methods.get(method)
        if route is None:
            raise MethodNotAllowed(tuple(sorted(methods)))
        return route

    def _find_by_host(self, host: bytes | None, path: str) -> _Methods | None:
        paths = self._hosts.get(_name_of(host.decode("ascii"))) if host else None
        return None if paths is None else paths.find(path)

    def _find_by_path(self, path: str) -> _Methods:
        """For any host; the gateway's own come last."""
        methods = self._any_host.find(path)
        if methods is None:
            methods = self._own.find(path)
            if methods is None:
                raise NoRoute
        return methods

    def _paths_of(self, host: str | None) -> _Paths:
        return self._any_host if host is None else self._hosts.setdefault(host.lower(), _Paths())


def _name_of(host: str) -> str:
    """The host without its port. An IPv6 address keeps its brackets, and with them its colons."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host.rstrip(":")).lower()


def find_environment(settings: Settings, name: str) -> str:
    """Of a route that is configured."""
    for route in settings.routes:
        if route.name == name:
            return route.environment
    raise UnknownRoute(name)


def compile_routes(settings: Settings, *, whoami: bool = True, own: Iterable[Route] = ()) -> RouteTable:
    """`settings` come from `load`, which has checked all names; here they are looked up for the last time.

    `own`: further routes of the gateway's own.
    """
    local = ((_WHOAMI,) if whoami else ()) + tuple(own)
    return RouteTable((_compile(route, settings) for route in settings.routes), local)


def control_route(name: str, pattern: str, method: str, permission: str, max_body_bytes: int) -> Route:
    """Of neither environment: keys of both may ask, and what they may reach is for the operation to say."""
    return Route(
        name=name,
        pattern=pattern,
        methods=(method,),
        environment=None,
        upstream="",
        permission=permission,
        trading=False,
        timeouts=_compile_timeouts(TimeoutSettings()),
        max_body_bytes=max_body_bytes,
        is_local=True,
        is_control=True,
    )


def _compile(route: RouteSettings, settings: Settings) -> Route:
    requirement = settings.policies.requirement(route.permission, route.environment)
    return Route(
        name=route.name,
        pattern=route.path,
        methods=route.methods,
        environment=parse_environment(route.environment),
        upstream=route.upstream,
        permission=route.permission,
        trading=requirement.trading,
        timeouts=_compile_timeouts(route.timeouts),
        host=route.host,
        public=route.public,
        cost=route.cost,
        limits=tuple(limit_specs.build(name, settings.limits[name]) for name in route.limits),
        strip_prefix=route.strip_prefix.encode("ascii"),
        max_body_bytes=route.max_body_bytes,
        bind_request=route.bind_request,
    )


def _compile_timeouts(timeouts: TimeoutSettings) -> Timeouts:
    return Timeouts(
        connect_ms=timeouts.connect_ms,
        first_byte_ms=timeouts.first_byte_ms,
        idle_ms=timeouts.idle_ms,
        total_ms=timeouts.total_ms,
    )


# The gateway's own route that needs a verified caller: any key may ask who it is, in either environment.
_WHOAMI = Route(
    name="whoami",
    pattern="/edge/v1/whoami",
    methods=("GET",),
    environment=None,
    upstream="",
    permission=None,
    trading=False,
    timeouts=_compile_timeouts(TimeoutSettings()),
    is_local=True,
)
