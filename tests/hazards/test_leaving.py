"""Hazards, "Limits and faults": a node that is told to leave loses nothing that it had accepted."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.support import problems, rawhttp
from tests.support.gateway import Deployment, Node, deployed, wait_until
from tests.support.recording_upstream import Exchange, echo
from tests.support.signing import plain_request

HELD = b"/pub/held"
CLIENTS = 6


@pytest.fixture
def leaving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A node of its own, to be asked to leave; it says so for a second before it stops."""
    changes = {"server": {"drain_ms": 1_000}}
    with deployed(tmp_path_factory.mktemp("leaving"), changes=changes) as deployment:
        deployment.key()
        yield deployment


def test_a_node_that_is_leaving_finishes_what_it_accepted(leaving: Deployment) -> None:
    """SIGTERM: readiness says `draining`, the request in flight is answered, and the process ends cleanly."""
    node = leaving.node
    arrived, release = threading.Event(), threading.Event()

    def hold(exchange: Exchange) -> None:
        if exchange.request.target == HELD:
            exchange.read_body()
            arrived.set()
            release.wait(60)
        echo(exchange)

    with leaving.paper.scripted(hold), node.connect() as held, node.connect() as idle:
        assert idle.ask(plain_request("GET", b"/pub/x")).status == 200
        held.send(plain_request("GET", HELD))
        assert arrived.wait(30)
        node.terminate()
        wait_until(lambda: node.health("ready") != 200, 5, "readiness says no")
        problems.check(node.ask(plain_request("GET", b"/health/ready")), "draining")
        assert idle.ask(plain_request("GET", b"/pub/x")).status in {200, 503}
        wait_until(lambda: _is_shut(node), 10, "new connections are refused")
        assert node.is_alive(), "it left while a request was in flight"
        release.set()
        assert held.read().json()["target"].encode() == HELD
    assert node.process.wait(15) == 0


def _is_shut(node: Node) -> bool:
    try:
        with node.connect(timeout=2) as connection:
            connection.ask(plain_request("GET", b"/health/live"))
    except (OSError, rawhttp.Ended):
        return True
    return False


class Client(threading.Thread):
    """Sends one request after another, on one connection and then on the next, until nobody takes them."""

    def __init__(self, node: Node, name: int) -> None:
        super().__init__(daemon=True)
        self._node, self._name = node, name
        self.answered: set[bytes] = set()
        self.refused: list[str] = []

    def run(self) -> None:
        number = 0
        while True:
            try:
                with self._node.connect(timeout=10) as connection:
                    for _ in range(20):
                        number += 1
                        self._ask(connection, b"/pub/%d/%d" % (self._name, number))
            except (OSError, rawhttp.Ended):
                if not self._node.is_alive() or _is_shut(self._node):
                    return

    def _ask(self, connection: rawhttp.Connection, target: bytes) -> None:
        answer = connection.ask(plain_request("GET", target))
        if answer.status == 200:
            self.answered.add(target)
        elif answer.code != "draining":
            self.refused.append(str(answer))
        if answer.header("connection") == "close":
            raise rawhttp.Ended("as it was told")


def test_leaving_under_load_loses_nothing_that_reached_the_upstream(leaving: Deployment) -> None:
    """Whatever an upstream was asked while the node left, its client has the answer to."""
    clients = [Client(leaving.node, number) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    wait_until(lambda: all(client.answered for client in clients), 30, "load")
    leaving.node.terminate()
    for client in clients:
        client.join(20)
    assert leaving.node.process.wait(15) == 0
    asked = {request.target for request in leaving.paper.requests}
    answered = set().union(*(client.answered for client in clients))
    assert asked == answered
    assert not [refusal for client in clients for refusal in client.refused]
