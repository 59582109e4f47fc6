"""Whether each route can be served as written, and no two of them claim the same request."""

import re
from collections import Counter
from collections.abc import Callable, Iterator

from gateway import patterns
from gateway.settings import addresses
from gateway.settings.decode import route_place
from gateway.settings.faults import Fault
from gateway.settings.values import RouteSettings, Settings
from keys.environment import ENVIRONMENTS

# CONNECT and TRACE are never served; a method that is not here is a misspelling.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}", re.ASCII)
# What the gateway's own pages are called in logs and metrics.
_KEPT_NAMES = frozenset({"whoami", "gateway"})
_BRACKETED = re.compile(r"\[[0-9A-Fa-f:.]+\]")


def find_route_faults(settings: Settings) -> Iterator[Fault]:
    claimed: dict[tuple[str | None, patterns.Pattern, str], str] = {}
    names = Counter(route.name for route in settings.routes)
    for index, route in enumerate(settings.routes):
        place = route_place(index, route.name)
        if names[route.name] > 1:
            yield Fault(place, "another route has the same name")
        for check in _CHECKS:
            for problem in check(route, settings):
                yield Fault(place, problem)
        for problem in _claim(route, place, claimed):
            yield Fault(place, problem)


def _claim(
    route: RouteSettings, place: str, claimed: dict[tuple[str | None, patterns.Pattern, str], str]
) -> Iterator[str]:
    """Names of parameters do not tell two patterns apart, nor does the case of a host."""
    try:
        pattern = patterns.parse(route.path)
    except patterns.InvalidPattern as failure:
        yield f'path "{route.path}": {failure}'
        return
    host = None if route.host is None else route.host.lower()
    for method in dict.fromkeys(route.methods):
        other = claimed.setdefault((host, pattern, method), place)
        if other != place:
            yield f"{method} {route.path} is already taken by {other}"


def _check_form(route: RouteSettings, _: Settings) -> Iterator[str]:
    if _NAME.fullmatch(route.name) is None:
        yield "a name is lowercase letters, digits and '-', a letter first"
    if route.name in _KEPT_NAMES:
        yield f'name "{route.name}" is kept for the gateway itself'
    if route.host is not None and not _is_host_header(route.host):
        yield f'host "{route.host}" is no host name (it has no port either)'
    if route.strip_prefix and not patterns.is_prefix(route.strip_prefix, route.path):
        yield f'strip_prefix "{route.strip_prefix}" is not made of whole literal segments, the first of path'


def _is_host_header(host: str) -> bool:
    if ":" in host:
        return _BRACKETED.fullmatch(host) is not None
    return addresses.is_host(host)


def _check_methods(route: RouteSettings, _: Settings) -> Iterator[str]:
    if not route.methods:
        yield "methods is empty"
    for method, count in Counter(route.methods).items():
        if method not in _METHODS:
            yield f'method "{method}" is not one of {", ".join(sorted(_METHODS))}'
        if count > 1:
            yield f'method "{method}" stands there twice'


def _check_upstream(route: RouteSettings, settings: Settings) -> Iterator[str]:
    if route.environment not in ENVIRONMENTS:
        yield f'environment "{route.environment}" is not one of {", ".join(ENVIRONMENTS)}'
    upstream = settings.upstreams.get(route.upstream)
    if upstream is None:
        yield f'upstream "{route.upstream}" is not defined'
    elif upstream.environment != route.environment:
        belongs = f'but upstream "{route.upstream}" is "{upstream.environment}"'
        yield f'environment is "{route.environment}", {belongs}'


def _check_permission(route: RouteSettings, settings: Settings) -> Iterator[str]:
    if route.public:
        if route.permission is not None:
            yield "public = true and a permission exclude each other"
        if route.bind_request:
            yield "public = true and bind_request exclude each other: nobody is there to assert"
    elif route.permission is None:
        yield "has no permission; a route for everyone says public = true"
    if route.permission is not None and route.permission not in settings.policies.permissions:
        yield f'permission "{route.permission}" is not defined'


def _check_limits(route: RouteSettings, settings: Settings) -> Iterator[str]:
    for name, count in Counter(route.limits).items():
        if count > 1:
            yield f'limit "{name}" stands there twice'
        spec = settings.limits.get(name)
        if spec is None:
            yield f'limit "{name}" is not defined'
        elif spec.burst < route.cost:
            yield f'cost {route.cost} is more than the burst of limit "{name}" ({spec.burst})'


def _check_tiers(route: RouteSettings, settings: Settings) -> Iterator[str]:
    if route.public:
        return
    for tier in settings.policies.tiers.values():
        for limit in (tier.key, tier.partner):
            if limit is not None and limit.burst < route.cost:
                yield f'cost {route.cost} is more than the burst of tier limit "{limit.name}" ({limit.burst})'


def _check_sizes(route: RouteSettings, settings: Settings) -> Iterator[str]:
    budget = settings.server.body_budget_bytes
    if route.max_body_bytes > budget:
        yield f"max_body_bytes ({route.max_body_bytes}) is more than server.body_budget_bytes ({budget})"
    timeouts = route.timeouts
    for name in ("connect_ms", "first_byte_ms", "idle_ms"):
        if getattr(timeouts, name) > timeouts.total_ms:
            yield f"timeouts.{name} is more than timeouts.total_ms ({timeouts.total_ms})"


_CHECKS: tuple[Callable[[RouteSettings, Settings], Iterator[str]], ...] = (
    _check_form,
    _check_methods,
    _check_upstream,
    _check_permission,
    _check_limits,
    _check_tiers,
    _check_sizes,
)
