"""The control surface's own port: what partners can reach, and what they cannot."""

from __future__ import annotations

from pathlib import Path

from tests.support import rawhttp
from tests.support.gateway import deployed
from tests.support.processes import free_port
from tests.support.signing import plain_request


def test_metrics_are_on_the_control_port_and_routes_are_not(tmp_path: Path) -> None:
    """One process, two doors; neither opens onto the other's paths."""
    port = free_port()
    with deployed(tmp_path, changes={"control": {"port": port}}) as deployment:
        control, partners = ("127.0.0.1", port), deployment.node.address
        metrics, orders = (
            plain_request("GET", b"/metrics"),
            deployment.key().request("GET", b"/paper/v1/orders"),
        )
        assert rawhttp.ask(control, metrics).status == 200
        assert rawhttp.ask(partners, metrics).code == "no_route"
        assert rawhttp.ask(control, orders).code == "no_route"
        assert rawhttp.ask(partners, orders).status == 200
        assert rawhttp.ask(control, plain_request("GET", b"/health/live")).status == 200
