"""The control surface's own routes in the table: found by their patterns, and by nobody else's."""

from __future__ import annotations

import pytest

from gateway import patterns, routes
from gateway.api.control import build
from policies import control

SURFACE = build()


def test_every_rule_is_a_route_that_asks_for_its_permission() -> None:
    """So that the pipeline refuses before anything of the surface runs."""
    table = routes.RouteTable((), SURFACE.routes())
    for rule in SURFACE.rules:
        path = "/control/v1" + rule.path.replace("{", "").replace("}", "")
        route = table.match(b"any.host", rule.method, path)
        assert (route.name, route.permission) == (rule.route_name, rule.permission)
        assert (route.is_local, route.is_control, route.public) == (True, True, False)
        assert route.permission in control.ALL


def test_what_is_no_endpoint_is_no_route() -> None:
    table = routes.RouteTable((), SURFACE.routes())
    for path in ("/control/v1/keys/a/b", "/control/v1/keys/", "/control/v1/keys/a/freeze/", "/control/v1"):
        with pytest.raises(routes.NoRoute):
            table.match(None, "GET", path)
    with pytest.raises(routes.MethodNotAllowed) as refused:
        table.match(None, "HEAD", "/control/v1/keys")
    assert refused.value.allow == ("GET", "POST")


def test_no_configured_route_can_stand_there() -> None:
    with pytest.raises(patterns.InvalidPattern, match="kept for the gateway"):
        patterns.parse("/control/v1/keys")
    assert patterns.parse_own("/control/v1/keys").is_literal
