"""The same signed request sent to two processes at once passes exactly once, a thousand times over."""

from __future__ import annotations

import threading

from tests.support import rawhttp
from tests.support.gateway import Deployment, Node

TIMES = 1_000


class Runner(threading.Thread):
    """One client with one connection to one node; it fires each request when the other one does."""

    def __init__(self, node: Node, wires: list[bytes], gate: threading.Barrier) -> None:
        super().__init__(daemon=True)
        self._node = node
        self._wires = wires
        self._gate = gate
        self.outcomes: list[str] = []

    def run(self) -> None:
        connection = self._node.connect()
        try:
            for wire in self._wires:
                self._gate.wait(20)
                answer = connection.ask(wire)
                self.outcomes.append(answer.code or str(answer.status))
        except (OSError, AssertionError, threading.BrokenBarrierError) as failure:
            self.outcomes.append(repr(failure))
            self._gate.abort()
        finally:
            connection.close()


def test_the_same_request_to_two_nodes_at_once_passes_exactly_once(shared: Deployment) -> None:
    """Two processes, one Redis and one PostgreSQL: of each thousand pairs, one passes and one is a replay."""
    signer = shared.key()
    shared.paper.clear()
    # In batches, so that no timestamp grows stale on a slow machine.
    for batch in range(TIMES // 250):
        targets = [b"/paper/v1/orders/%d" % (batch * 250 + number) for number in range(250)]
        wires = [signer.request("GET", target) for target in targets]
        gate = threading.Barrier(2)
        runners = [Runner(node, wires, gate) for node in shared.nodes]
        for runner in runners:
            runner.start()
        for runner in runners:
            runner.join(60)
        pairs = [tuple(sorted(pair)) for pair in zip(*(runner.outcomes for runner in runners), strict=True)]
        assert pairs == [("200", "replayed_request")] * 250, [
            p for p in pairs if p != ("200", "replayed_request")
        ][:5]
    assert len({request.target for request in shared.paper.requests}) == TIMES
    assert len(shared.paper.requests) == TIMES


def test_a_request_sent_twice_on_one_connection_passes_once(deployment: Deployment) -> None:
    """Pipelined copies are copies as well."""
    wire = deployment.key().request("GET", b"/paper/v1/orders")
    answers = rawhttp.ask_all(deployment.node.address, wire * 10)
    assert [answer.code for answer in answers] == [None] + ["replayed_request"] * 9
