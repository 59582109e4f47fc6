"""How far a revision has come, judged from what nodes say."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway import spread
from storage import nodes
from storage.engine import transaction
from storage.revision import Revision

NOW = 1_000_000
LOST_AFTER = 10_000
CURRENT = 42


def node(name: str, **changed: Any) -> nodes.Node:  # noqa: ANN401  fields of one
    fields: dict[str, Any] = {
        "id": name,
        "host": "gate",
        "version": "1",
        "surfaces": ("edge",),
        "started_at": 0,
        "seen_at": NOW - 500,
        "revision": CURRENT,
        "applied_at": NOW - 1_000,
        "committed_at": NOW - 1_100,
        "incomplete": 0,
    }
    return nodes.Node(**fields | changed)


def judged(*seen: nodes.Node, revision: int | None = None) -> spread.Spread:
    return spread.judge(nodes.Roll(NOW, Revision(CURRENT, NOW - 1_100), seen), LOST_AFTER, revision)


def test_the_slowest_node_tells_how_long_it_took() -> None:
    """Three nodes that all serve it, in one line."""
    seen = judged(node("a"), node("b", applied_at=NOW - 860), node("c"))
    assert seen.summary() == "3/3 nodes, 240 ms"
    assert seen.is_everywhere
    assert seen.revision == CURRENT


def test_a_node_behind_is_counted_and_named() -> None:
    """It lives, and does not serve it: the change is not everywhere."""
    seen = judged(node("a"), node("b", revision=41))
    assert seen.summary() == "1/2 nodes, 100 ms, 1 behind"
    assert not seen.is_everywhere
    assert [one.id for one in seen.those("behind")] == ["b"]
    assert seen.nodes[1].latency_ms is None


def test_a_silent_node_is_lost_whatever_it_served() -> None:
    """It may be gone or cut off: it stands beside those that live, not among them."""
    seen = judged(node("a"), node("b", seen_at=NOW - LOST_AFTER - 1), node("c", seen_at=NOW - LOST_AFTER))
    assert seen.summary() == "2/2 nodes, 100 ms, 1 lost"
    assert seen.is_everywhere
    assert seen.nodes[1].state == "lost"
    assert seen.nodes[1].seen_ago_ms == LOST_AFTER + 1


def test_a_node_that_lacks_something_serves_and_says_so() -> None:
    """A secret that does not open yet keeps no revocation from being served."""
    seen = judged(node("a", incomplete=2))
    assert seen.summary() == "1/1 nodes, 100 ms, 1 incomplete"
    assert seen.is_everywhere


def test_what_a_node_found_at_its_start_has_no_delay() -> None:
    """It was not waited for."""
    assert judged(node("a", committed_at=None)).summary() == "1/1 nodes"


def test_of_an_earlier_revision_only_who_stands_there_can_tell_the_delay() -> None:
    """Who has gone on serves it all the same."""
    seen = judged(node("a"), node("b", revision=41, applied_at=NOW - 1_090), revision=41)
    assert seen.summary() == "2/2 nodes, 10 ms"


def test_where_no_node_runs_there_is_nobody_to_wait_for() -> None:
    """A change is everywhere where nowhere is."""
    seen = judged()
    assert seen.is_everywhere
    assert seen.summary() == "0/0 nodes"


class Time:
    """A clock that goes on only by sleeping; what happens meanwhile is told by the test."""

    def __init__(self, *events: Any) -> None:  # noqa: ANN401  coroutine functions
        self.now_ms = 0
        self._events = list(events)

    def __call__(self) -> int:
        return self.now_ms

    async def sleep(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)
        if self._events:
            await self._events.pop(0)()


@pytest.fixture
def receipt() -> nodes.Receipt:
    return nodes.Receipt(
        id="a",
        host="gate",
        version="1",
        surfaces=(),
        started_ago_ms=0,
        revision=1,
        applied_ago_ms=0,
        committed_at=None,
        incomplete=0,
    )


async def report(engine: AsyncEngine, receipt: nodes.Receipt, **changed: object) -> None:
    async with transaction(engine) as conn:
        await nodes.report(conn, msgspec.structs.replace(receipt, **changed))


async def test_waiting_ends_when_the_last_node_serves_it(engine: AsyncEngine, receipt: nodes.Receipt) -> None:
    """Not before, and not at the end of the patience."""
    await report(engine, receipt)
    await report(engine, receipt, id="b", revision=2)
    time = Time(lambda: report(engine, receipt, id="c"), lambda: report(engine, receipt, revision=2))
    time._events += [lambda: report(engine, receipt, id="c", revision=3)]
    seen = await spread.wait_for(engine, LOST_AFTER, 2, timeout_ms=5_000, clock=time, sleep=time.sleep)
    assert seen.is_everywhere
    assert seen.serving == 3
    assert not time._events
    assert time.now_ms == 60


async def test_waiting_is_bounded(engine: AsyncEngine, receipt: nodes.Receipt) -> None:
    """Who has not come by then is named."""
    await report(engine, receipt)
    time = Time()
    seen = await spread.wait_for(engine, LOST_AFTER, 2, timeout_ms=1_000, clock=time, sleep=time.sleep)
    assert time.now_ms == 1_000
    assert [one.id for one in seen.those("behind")] == ["a"]


async def test_what_is_served_is_given_a_moment_to_become_whole(
    engine: AsyncEngine, receipt: nodes.Receipt
) -> None:
    """What follows a change comes right behind it; where it is broken, nobody waits long."""
    await report(engine, receipt, incomplete=1)
    time = Time(lambda: report(engine, receipt))
    seen = await spread.wait_for(engine, LOST_AFTER, 1, timeout_ms=5_000, clock=time, sleep=time.sleep)
    assert (seen.nodes[0].state, time.now_ms) == ("serving", 20)
    await report(engine, receipt, incomplete=1)
    time = Time()
    seen = await spread.wait_for(engine, LOST_AFTER, 1, timeout_ms=5_000, clock=time, sleep=time.sleep)
    assert (seen.nodes[0].state, time.now_ms) == ("incomplete", 300)
