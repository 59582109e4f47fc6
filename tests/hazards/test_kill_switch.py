"""Hazards, "Limits and faults": a route and an environment are stopped on every node within a second, and only they."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hazards.conftest import new_database
from tests.support import problems
from tests.support.gateway import Deployment, deployed, wait_until
from tests.support.recording_upstream import Exchange
from tests.support.servers import PostgresServer, RedisServer
from tests.support.signing import plain_request, replace

BOUND_MS = 1_000
ORDERS = b"/paper/v1/orders"
LIVE = b"/live/v1/orders"
PUBLIC = b"/pub/x"


@pytest.fixture(scope="module")
def two_nodes(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer, postgres_server: PostgresServer
) -> Iterator[Deployment]:
    """Two nodes that everything may be frozen on, with short heartbeats."""
    place = tmp_path_factory.mktemp("kill-switch")
    storage, changes = new_database(postgres_server), {"keys": {"heartbeat_ms": 1_000}}
    with deployed(place, storage=storage, redis=redis_server.url, nodes=2, changes=changes) as deployment:
        yield deployment


@contextlib.contextmanager
def frozen(deployment: Deployment, kind: str, name: str) -> Iterator[dict[str, Any]]:
    """For as long as the block; what the command said about how far it has come."""
    told = json.loads(deployment.command("freeze", kind, name, "--reason", "a drill", "--json"))
    try:
        yield told["spread"]
    finally:
        deployment.command("unfreeze", kind, name, "--reason", "the drill is over")


def codes(deployment: Deployment, target: bytes, **key: Any) -> list[str | None]:  # noqa: ANN401  see Deployment.key
    """What each node answers; None where it passes."""
    signer = deployment.key(**key)
    answers = [node.ask(signer.request("GET", target)) for node in deployment.nodes if node.is_alive()]
    return [None if answer.status == 200 else answer.code for answer in answers]


def status(deployment: Deployment) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(deployment.command("nodes", "status", "--json"))
    return found


FREEZES = [("route", "orders-read", "route_frozen"), ("environment", "paper", "environment_frozen")]


@pytest.mark.parametrize(("kind", "name", "code"), FREEZES)
def test_what_is_frozen_is_refused_on_every_node_once_the_command_says_so(
    two_nodes: Deployment, kind: str, name: str, code: str
) -> None:
    """Within a second by the nodes' receipts; from then on, without exception; and served again when it is thawed."""
    assert codes(two_nodes, ORDERS) == [None, None]
    with frozen(two_nodes, kind, name) as spread:
        for _ in range(20):
            assert codes(two_nodes, ORDERS) == [code, code]
        answer = two_nodes.node.ask(two_nodes.key().request("GET", ORDERS))
        problems.check(answer, code)
    assert (spread["serving"], spread["live"], spread["everywhere"]) == (2, 2, True)
    assert spread["latency_ms"] < BOUND_MS
    assert codes(two_nodes, ORDERS) == [None, None]


def test_a_freeze_stops_nothing_beside_what_it_names(two_nodes: Deployment) -> None:
    """Another route of the environment, the other environment, and the gateway's own page."""
    live = {"environment": "live", "partner": "lively"}
    assert codes(two_nodes, LIVE, **live) == [None, None]
    with frozen(two_nodes, "route", "orders-read"):
        assert codes(two_nodes, b"/paper/v1/echo") == [None, None]
    with frozen(two_nodes, "environment", "live"):
        assert codes(two_nodes, LIVE, **live) == ["environment_frozen"] * 2
        assert codes(two_nodes, ORDERS) == [None, None]
        assert codes(two_nodes, b"/edge/v1/whoami", **live) == [None, None]


@pytest.mark.parametrize(("kind", "name"), [("route", "public"), ("environment", "paper")])
def test_public_routes_are_stopped_too(two_nodes: Deployment, kind: str, name: str) -> None:
    """Whoever need not sign is refused like everybody."""
    wire = plain_request("GET", PUBLIC)
    assert [node.ask(wire).status for node in two_nodes.nodes] == [200, 200]
    with frozen(two_nodes, kind, name):
        for node in two_nodes.nodes:
            problems.check(node.ask(wire), f"{kind}_frozen")


def test_strangers_learn_nothing_of_a_freeze(two_nodes: Deployment) -> None:
    """Unsigned, wrongly signed, and signed by who may not: each is answered as ever."""
    signer, viewer = two_nodes.key(), two_nodes.key(role="viewer", partner="viewer")
    wrong = replace(signer.headers("GET", ORDERS), "Portreeve-Signature", "0" * 64)
    with frozen(two_nodes, "environment", "paper"), frozen(two_nodes, "route", "orders-create"):
        ask = two_nodes.node.ask
        problems.check(ask(plain_request("GET", ORDERS)), "missing_credentials")
        problems.check(ask(plain_request("GET", ORDERS, wrong)), "bad_signature")
        problems.check(ask(viewer.request("POST", ORDERS, b"{}"), method="POST"), "permission_denied")


def test_of_several_freezes_one_is_told_and_always_the_same(two_nodes: Deployment) -> None:
    """The key's, the partner's, the environment's, the route's: thawed one by one, each shows the next."""
    two_nodes.partner("layered")
    signer = two_nodes.new_key(partner="layered")
    seen = []

    def ask() -> None:
        seen.append(two_nodes.node.ask(signer.request("GET", ORDERS)).code)

    def thaw(what: str, name: str) -> None:
        two_nodes.command(what, "unfreeze", name, "--reason", "the drill is over")
        wait_until(lambda: two_nodes.node.ask(signer.request("GET", ORDERS)).code != seen[-1], 3, "a thaw")

    with frozen(two_nodes, "route", "orders-read"):
        with frozen(two_nodes, "environment", "paper"):
            two_nodes.command("partners", "freeze", "layered", "--reason", "a drill")
            two_nodes.command("keys", "freeze", signer.key_id, "--reason", "a drill")
            wait_until(
                lambda: two_nodes.node.ask(signer.request("GET", ORDERS)).code == "key_frozen", 3, "a freeze"
            )
            ask()
            thaw("keys", signer.key_id)
            ask()
            thaw("partners", "layered")
            ask()
        ask()
    assert seen == ["key_frozen", "partner_frozen", "environment_frozen", "route_frozen"]


def test_a_request_under_way_is_let_finish(two_nodes: Deployment) -> None:
    """It was let through before: its answer comes, and the next one is refused."""
    arrived, release = threading.Event(), threading.Event()

    def hold(exchange: Exchange) -> None:
        exchange.read_body()
        arrived.set()
        release.wait(60)
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld")

    signer = two_nodes.key()
    with two_nodes.paper.scripted(hold), two_nodes.node.connect() as connection:
        connection.send(signer.request("GET", b"/paper/v1/echo"))
        assert arrived.wait(30)
        with frozen(two_nodes, "environment", "paper"):
            assert two_nodes.node.ask(signer.request("GET", ORDERS)).code == "environment_frozen"
            release.set()
            assert connection.read().body == b"held"


def test_a_refused_request_has_taken_nothing(two_nodes: Deployment) -> None:
    """Its nonce is still its own, and its limit untouched: thawed, the very same request passes."""
    signer = two_nodes.key(partner="patient")
    wire = signer.request("GET", b"/paper/v1/one-slot")
    with frozen(two_nodes, "route", "one-slot"):
        assert two_nodes.node.ask(wire).code == "route_frozen"
    assert two_nodes.node.ask(wire).status == 200


def test_a_node_that_starts_later_refuses_from_its_first_request(two_nodes: Deployment) -> None:
    """A restart opens nothing; and a clean stop leaves no receipt behind."""
    with frozen(two_nodes, "route", "orders-read"):
        node = two_nodes.serve()
        assert node.ask(two_nodes.key().request("GET", ORDERS)).code == "route_frozen"
        wait_until(lambda: status(two_nodes)["live"] == 3, 30, "the third node's receipt")
    assert node.stop() == 0
    assert status(two_nodes)["live"] == 2


def test_a_node_that_was_killed_is_lost_and_named(two_nodes: Deployment) -> None:
    """It counts among those that live until it has been silent for a while, and then apart."""
    node = two_nodes.serve()
    wait_until(lambda: status(two_nodes)["live"] == 3, 30, "the third node's receipt")
    node.process.send_signal(signal.SIGKILL)
    node.process.wait(30)
    wait_until(lambda: len(status(two_nodes)["lost"]) == 1, 10, "the loss")
    seen = status(two_nodes)
    assert (seen["serving"], seen["live"], seen["everywhere"]) == (2, 2, True)


def test_an_embedded_node_stops_as_well(tmp_path: Path) -> None:
    """With SQLite and no Redis, by polling alone."""
    with deployed(tmp_path) as deployment:
        assert codes(deployment, ORDERS) == [None]
        with frozen(deployment, "environment", "paper") as spread:
            assert codes(deployment, ORDERS) == ["environment_frozen"]
        assert (spread["serving"], spread["live"]) == (1, 1)
        assert spread["latency_ms"] < BOUND_MS


def test_a_route_is_stopped_while_redis_is_away(
    tmp_path: Path, own_redis: RedisServer, postgres_server: PostgresServer
) -> None:
    """No signal comes, polling does: within the same second, and ahead of what the outage would answer."""
    storage = new_database(postgres_server)
    with deployed(tmp_path, storage=storage, redis=own_redis.url, nodes=2) as deployment:
        assert codes(deployment, ORDERS) == [None, None]
        own_redis.stop()
        try:
            with frozen(deployment, "route", "orders-read") as spread:
                assert codes(deployment, ORDERS) == ["route_frozen"] * 2
        finally:
            own_redis.start()
        assert spread["everywhere"]
        assert spread["latency_ms"] < BOUND_MS
