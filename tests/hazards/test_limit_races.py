"""Hazards, "Limits and faults": shared limits stay exact over processes and over clocks that disagree."""

from __future__ import annotations

import collections
import concurrent.futures
import itertools
import threading

from tests.support import signing
from tests.support.gateway import Deployment, Node
from tests.support.signing import Signer

CLIENTS = 16
ROUNDS = 3
SKEW_SECONDS = 60
_number = itertools.count()


def fresh(deployment: Deployment) -> Signer:
    """A key of a partner who has used up nothing yet."""
    return deployment.key(partner=f"racer{next(_number)}")


def race(nodes: list[Node], wires: list[bytes]) -> collections.Counter[str]:
    """All at once, spread over the nodes: how often each outcome came."""
    gate = threading.Barrier(len(wires))

    def ask(node: Node, wire: bytes) -> str:
        with node.connect() as connection:
            gate.wait(60)
            answer = connection.ask(wire)
        return answer.code or str(answer.status)

    with concurrent.futures.ThreadPoolExecutor(len(wires)) as threads:
        return collections.Counter(threads.map(ask, itertools.cycle(nodes), wires))


def test_one_remaining_slot_passes_one_of_many_across_two_processes(shared: Deployment) -> None:
    """Sixteen clients on two nodes race for the last slot of a limit: exactly one gets it."""
    for _ in range(ROUNDS):
        signer = fresh(shared)
        wires = [signer.request("GET", b"/paper/v1/one-slot") for _ in range(CLIENTS)]
        assert race(shared.nodes, wires) == {"200": 1, "rate_limited": CLIENTS - 1}


def test_one_remaining_slot_passes_one_of_many_in_one_process(embedded: Deployment) -> None:
    """The embedded limiter is as exact as the shared one."""
    signer = fresh(embedded)
    wires = [signer.request("GET", b"/paper/v1/three-slots") for _ in range(CLIENTS)]
    assert race(embedded.nodes, wires) == {"200": 3, "rate_limited": CLIENTS - 3}


def test_one_request_raced_against_itself_passes_once(deployment: Deployment) -> None:
    """Sixteen copies of one signed request, at once and over every node: one passes."""
    signer = deployment.key()
    for _ in range(ROUNDS):
        wire = signer.request("GET", b"/paper/v1/orders")
        assert race(deployment.nodes, [wire] * CLIENTS) == {"200": 1, "replayed_request": CLIENTS - 1}


def test_one_partner_takes_nothing_from_another(deployment: Deployment) -> None:
    """A limit that one partner has used up, on a route or over its tier, is whole for the next one."""
    for target in (b"/paper/v1/one-slot", b"/paper/v1/three-slots"):
        for _ in range(2):
            signer = fresh(deployment)
            assert deployment.node.ask(signer.request("GET", target)).status == 200
            assert {deployment.node.ask(signer.request("GET", target)).code for _ in range(4)} >= {
                "rate_limited"
            }


def test_one_partners_tier_takes_nothing_from_anothers(deployment: Deployment) -> None:
    """The same over all of a partner's keys: two an hour for each partner, not for all of them together."""
    for number in range(2):
        name = f"metered{number}"
        keys = [
            deployment.key(partner=name, tier="metered", algorithm=algorithm)
            for algorithm in ("hmac-sha256", "ed25519")
        ]
        codes = [deployment.node.ask(key.request("GET", b"/paper/v1/orders")).code for key in keys * 2]
        assert codes == [None, None, "rate_limited", "rate_limited"]


def test_replays_take_nothing_from_a_limit(shared: Deployment) -> None:
    """Whoever captured a request cannot use up its partner's limit with it."""
    signer = fresh(shared)
    target = b"/paper/v1/three-slots"
    wire = signer.request("GET", target)
    assert shared.node.ask(wire).status == 200
    assert {shared.nodes[1].ask(wire).code for _ in range(10)} == {"replayed_request"}
    assert [shared.node.ask(signer.request("GET", target)).status for _ in range(3)] == [200, 200, 429]


def test_a_limited_request_cannot_be_kept_for_later(shared: Deployment) -> None:
    """What a limit refused has used its nonce: captured, it never passes."""
    signer = fresh(shared)
    assert shared.node.ask(signer.request("GET", b"/paper/v1/one-slot")).status == 200
    wire = signer.request("GET", b"/paper/v1/one-slot")
    assert shared.node.ask(wire).code == "rate_limited"
    assert shared.nodes[1].ask(wire).code == "replayed_request"


def test_a_clock_a_minute_off_refills_no_shared_limit(skewed: Deployment) -> None:
    """Three slots an hour are three over both nodes, whichever is asked first."""
    for order in (skewed.nodes, skewed.nodes[::-1]):
        signer = fresh(skewed)

        def ask(node: Node, signer: Signer = signer) -> str | None:
            stamp = str(node.now_ms())
            return node.ask(signer.request("GET", b"/paper/v1/three-slots", timestamp=stamp)).code

        assert [ask(node) for node in order * 4] == [None] * 3 + ["rate_limited"] * 5


def test_a_clock_a_minute_off_opens_no_replay(skewed: Deployment) -> None:
    """A request that both nodes find fresh passes on one of them only."""
    signer = skewed.key()
    for first, second in (skewed.nodes, skewed.nodes[::-1]):
        wire = signer.request("GET", b"/paper/v1/orders", timestamp=str(signing.now_ms() + 800))
        assert first.ask(wire).status == 200
        assert second.ask(wire).code == "replayed_request"


def test_each_node_judges_freshness_by_its_own_clock(skewed: Deployment) -> None:
    """Where the clock is wrong the answer says so, with that node's time in it."""
    ahead = skewed.nodes[1]
    answer = ahead.ask(
        skewed.key().request("GET", b"/paper/v1/orders", timestamp=str(signing.now_ms() - 5_000))
    )
    assert answer.code == "stale_timestamp", str(answer)
    assert abs(answer.json()["server_time"] - signing.now_ms() - SKEW_SECONDS * 1000) < 5_000
