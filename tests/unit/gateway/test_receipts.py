"""A node tells what it serves: at once, again and again, and never in the way of anything."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway import receipts
from keys.directory import Applied
from storage import engine as storage_engine
from storage import nodes, schema
from storage.engine import reading, transaction

NEVER_MS = 3_600_000


class Clock:
    def __init__(self) -> None:
        self.now_ms = 50_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


def build(engine: AsyncEngine, clock: Clock, heartbeat_ms: int = NEVER_MS) -> receipts.Receipts:
    return receipts.Receipts(engine, receipts.identify(("edge",), bytes), clock, heartbeat_ms)


@asynccontextmanager
async def running(told: receipts.Receipts) -> AsyncIterator[None]:
    task = asyncio.create_task(told.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def read(engine: AsyncEngine) -> tuple[nodes.Node, ...]:
    async with reading(engine) as conn:
        return (await nodes.read(conn)).nodes


async def eventually(engine: AsyncEngine, revision: int) -> nodes.Node:
    async with asyncio.timeout(10):
        while True:
            found = await read(engine)
            if found and found[0].revision == revision:
                return found[0]
            await asyncio.sleep(0.005)


def test_no_two_processes_have_one_name() -> None:
    """Not even one that has the number of another that has ended."""
    one, other = receipts.identify((), b"\x01".__mul__), receipts.identify((), b"\x02".__mul__)
    assert one.id != other.id
    assert one.id.startswith(f"{one.host}:")
    assert one.version


async def test_each_revision_is_reported_as_soon_as_it_is_served(engine: AsyncEngine, clock: Clock) -> None:
    """With a heartbeat that never comes."""
    told = build(engine, clock)
    async with running(told):
        told.notice(Applied(1, None, 0))
        await eventually(engine, 1)
        told.notice(Applied(2, 77, 0))
        node = await eventually(engine, 2)
    assert (node.committed_at, node.incomplete, node.surfaces) == (77, 0, ("edge",))


async def test_a_late_receipt_tells_when_it_was_applied(engine: AsyncEngine, clock: Clock) -> None:
    """However long the store was away, and although it was completed later."""
    told = build(engine, clock)
    told.notice(Applied(1, 5, 1))
    clock.now_ms += 4_000
    told.notice(Applied(1, 5, 0))
    await told.report()
    (node,) = await read(engine)
    assert 4_000 <= node.seen_at - node.applied_at + 100 < 4_300
    assert node.incomplete == 0


async def test_before_there_is_something_to_tell_nothing_is_told(engine: AsyncEngine, clock: Clock) -> None:
    """A node that has not loaded serves nothing."""
    await build(engine, clock).report()
    assert await read(engine) == ()


async def test_an_outage_costs_the_receipts_alone_and_they_come_later(
    engine: AsyncEngine, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever applies is never made to wait for it, and is told of no failure."""
    dead = storage_engine.open_engine("postgresql://nobody@127.0.0.1:1/none", password="none")
    told = build(dead, clock, heartbeat_ms=5)
    with caplog.at_level(logging.WARNING, "portreeve.keys"):
        async with running(told):
            told.notice(Applied(3, None, 0))
            async with asyncio.timeout(10):
                while "cannot be written" not in caplog.text:  # noqa: ASYNC110  logs tell nobody
                    await asyncio.sleep(0.005)
            told._engine = engine
            await eventually(engine, 3)
    assert "Traceback" not in caplog.text
    await dead.dispose()


async def test_a_clean_stop_signs_off_and_an_outage_does_not_spoil_it(
    engine: AsyncEngine, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody has to wait until a node that has stopped is lost."""
    told = build(engine, clock)
    told.notice(Applied(1, None, 0))
    await told.report()
    await told.leave()
    assert await read(engine) == ()
    dead = storage_engine.open_engine("postgresql://nobody@127.0.0.1:1/none", password="none")
    told._engine = dead
    await told.leave()
    assert "could not sign off" in caplog.text
    await dead.dispose()


async def test_a_store_that_hangs_is_given_up_on(
    engine: AsyncEngine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not keep a stop, nor a connection, for long."""
    monkeypatch.setattr(receipts, "_PATIENCE_S", 0.0)
    told = build(engine, clock)
    told.notice(Applied(1, None, 0))
    with pytest.raises(storage_engine.StorageUnavailable):
        await told.report()
    # The driver's thread still has its answer to give: it must not find the loop gone.
    await engine.dispose()
    async with asyncio.timeout(10):
        while any("_connection_worker" in thread.name for thread in threading.enumerate()):  # noqa: ASYNC110  threads tell nobody
            await asyncio.sleep(0.005)


async def test_who_fell_silent_long_ago_is_forgotten_by_whoever_comes_next(
    engine: AsyncEngine, clock: Clock
) -> None:
    """A crashed process leaves its row; it does not stay for ever."""
    old = build(engine, clock)
    old.notice(Applied(1, None, 0))
    await old.report()
    async with transaction(engine) as conn:
        await conn.execute(sa.update(schema.nodes).values(id="old", seen_at=1))
    told = build(engine, clock)
    async with running(told):
        told.notice(Applied(2, None, 0))
        async with asyncio.timeout(10):
            while [node.id for node in await read(engine)] != [told.identity.id]:  # noqa: ASYNC110  a store tells nobody
                await asyncio.sleep(0.005)
