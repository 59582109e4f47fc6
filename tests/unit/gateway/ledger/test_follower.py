"""Following the ledger: every sink gets every entry at least once, in order, whatever fails in between."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from gateway.ledger.follower import Follower, Followers, Unshared
from gateway.ledger.sinks import SinkUnavailable
from storage import audit, consumers
from storage.engine import reading, transaction
from tests.support.ledger import Ledger


class Memory:
    """Takes what it is told, unless it is `down`; `torn` takes half and then fails."""

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.taken: list[int] = []
        self.down = False
        self.torn = False
        self.closed = False

    async def deliver(self, entries: Sequence[audit.AuditEntry]) -> None:
        if self.down:
            raise SinkUnavailable("down, as told")
        part = entries[: len(entries) // 2] if self.torn else entries
        self.taken += [entry.seq for entry in part]
        if self.torn:
            raise SinkUnavailable("torn, as told")

    async def aclose(self) -> None:
        self.closed = True


class Elsewhere:
    async def held(self, name: str) -> bool:
        assert name == "sink:memory"
        return False


def follow(kept: Ledger, sink: Memory, *, from_start: bool = True) -> Follower:
    return Follower(kept.engine, sink, kept.room.clock, Unshared(), from_start=from_start)


async def place_of(kept: Ledger, sink: Memory) -> int | None:
    async with reading(kept.engine) as conn:
        return await consumers.find(conn, f"sink:{sink.name}")


async def drain(follower: Follower) -> None:
    while await follower.step():
        pass


async def test_a_sink_gets_the_whole_ledger_and_then_what_is_new(kept: Ledger) -> None:
    """In batches, each entry once as long as nothing fails."""
    await kept.append(450)
    sink = Memory()
    follower = follow(kept, sink)
    assert await follower.step()
    assert follower.behind == (await kept.head()).seq - 200
    await drain(follower)
    assert sink.taken == list(range(1, (await kept.head()).seq + 1))
    assert follower.behind == 0
    await kept.append(2)
    await drain(follow(kept, sink))
    assert sink.taken == list(range(1, (await kept.head()).seq + 1))


async def test_a_sink_may_begin_at_the_end(kept: Ledger) -> None:
    """What was before it is not told."""
    await kept.append(3)
    sink = Memory()
    follower = follow(kept, sink, from_start=False)
    await drain(follower)
    assert sink.taken == []
    await kept.append(1)
    await drain(follower)
    assert sink.taken == [(await kept.head()).seq]


async def test_what_was_not_taken_is_told_again(kept: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    """From the last place that was; the failure is logged once, and its end too."""
    await kept.append(4)
    last = (await kept.head()).seq
    sink = Memory()
    caplog.set_level("INFO", "portreeve.ledger")
    follower = follow(kept, sink)
    sink.down = True
    for _ in range(3):
        assert not await follower.step()
    assert (follower.is_failing, follower.behind, sink.taken) == (True, last, [])
    sink.down, sink.torn = False, True
    await follower.step()
    assert await place_of(kept, sink) == 0
    sink.torn = False
    await follower.step()
    assert sink.taken == [*range(1, last // 2 + 1), *range(1, last + 1)]
    assert not follower.is_failing
    assert await place_of(kept, sink) == last
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_a_node_that_ends_before_it_noted_its_place_makes_duplicates_and_no_gap(kept: Ledger) -> None:
    """The place is noted after the delivery, never before."""
    await kept.append(2)
    sink = Memory()

    class Ended(Exception):
        pass

    async def deliver_and_end(entries: Sequence[audit.AuditEntry]) -> None:
        sink.taken += [entry.seq for entry in entries]
        raise Ended

    honest, sink.deliver = sink.deliver, deliver_and_end  # type: ignore[method-assign]  # ends in the middle
    with pytest.raises(Ended):
        await follow(kept, sink).step()
    sink.deliver = honest  # type: ignore[method-assign]
    await drain(follow(kept, sink))
    last = (await kept.head()).seq
    assert sink.taken == [*range(1, last + 1)] * 2


async def test_what_another_node_holds_is_left_to_it(kept: Ledger) -> None:
    """But how far behind the sink is shows on every node."""
    await kept.append(2)
    sink = Memory()
    follower = Follower(kept.engine, sink, kept.room.clock, Elsewhere(), from_start=True)
    assert not await follower.step()
    assert (sink.taken, follower.behind) == ([], (await kept.head()).seq)


async def test_one_sink_that_fails_holds_up_no_other(kept: Ledger) -> None:
    """And each is tried again, after pauses that grow, until it takes what it is told."""
    await kept.append(3)
    last = (await kept.head()).seq
    good, bad = Memory("good"), Memory("bad")
    bad.down = True
    pauses: list[float] = []
    alone, done = asyncio.Event(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)
        if len(pauses) >= 40:
            bad.down = False
        if good.taken and not bad.taken:
            alone.set()
        if bad.taken and not followers.behind:
            done.set()

    followers = Followers(
        kept.engine, [(good, True), (bad, True)], kept.room.clock, poll_ms=1_000, sleep=sleep
    )
    task = asyncio.create_task(followers.run())
    async with asyncio.timeout(30):
        await alone.wait()
        await done.wait()
    task.cancel()
    # Cancelled a second time while it closes its connection, the driver would never be done.
    with suppress(asyncio.CancelledError):
        await task
    assert good.taken == bad.taken == list(range(1, last + 1))
    assert max(pauses) == 30.0
    assert (followers.behind, followers.failing) == (0, 0)
    await followers.aclose()
    assert good.closed
    assert bad.closed


async def test_an_outage_of_the_store_ends_a_step_and_not_the_following(kept: Ledger) -> None:
    """A consumer of which nobody knows how far it is must not begin anywhere."""
    sink = Memory()
    async with transaction(kept.engine) as conn:
        await consumers.register(conn, "sink:memory", 1, from_start=True)
        await consumers.advance(conn, "sink:memory", 1, 2)
    await kept.append(1)
    await drain(follow(kept, sink))
    assert sink.taken == list(range(2, (await kept.head()).seq + 1))
