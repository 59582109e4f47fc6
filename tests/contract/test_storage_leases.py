"""Leases: one holder at a time, by the store's clock, on either kind of store."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import clock, leases, schema
from storage import engine as storage_engine
from storage.engine import reading, transaction

LONG_MS = 60_000


def lease(engine: AsyncEngine, holder: str, name: str = "scheduler") -> leases.Lease:
    return leases.Lease(engine, name, holder, LONG_MS)


async def end(engine: AsyncEngine, name: str = "scheduler") -> None:
    """As if its time were over by the store's clock."""
    now = clock.now_ms(engine.dialect.name)
    statement = sa.update(schema.leases).where(schema.leases.c.name == name).values(expires_at=now)
    async with transaction(engine) as conn:
        await conn.execute(statement)


async def remaining(engine: AsyncEngine) -> int:
    left = sa.select(schema.leases.c.expires_at - clock.now_ms(engine.dialect.name))
    async with reading(engine) as conn:
        found: int = (await conn.execute(left)).scalar_one()
        return found


async def test_of_many_that_race_exactly_one_takes_it(engine: AsyncEngine) -> None:
    """However many nodes start in the same moment."""
    for name in ("one", "two", "three"):
        taken = await asyncio.gather(*(lease(engine, f"node-{number}", name).take() for number in range(8)))
        assert sum(taken) == 1


async def test_of_many_that_race_for_one_that_ended_exactly_one_takes_it(engine: AsyncEngine) -> None:
    """The row is there, and free: it is given away once."""
    assert await lease(engine, "dead").take()
    await end(engine)
    taken = await asyncio.gather(*(lease(engine, f"node-{number}").take() for number in range(8)))
    assert sum(taken) == 1


async def test_a_holder_keeps_it_by_taking_it_again(engine: AsyncEngine) -> None:
    """For as long again, while nobody else gets it."""
    held, other = lease(engine, "a"), lease(engine, "b")
    assert await held.take()
    async with transaction(engine) as conn:
        await conn.execute(sa.update(schema.leases).values(expires_at=clock.now_ms(engine.dialect.name) + 50))
    assert await held.take()
    assert LONG_MS - 10_000 < await remaining(engine) <= LONG_MS
    assert not await other.take()


async def test_when_its_time_is_over_another_takes_it_and_the_holder_learns_so(engine: AsyncEngine) -> None:
    """Who comes back from a long pause finds that it is another's now."""
    first, second = lease(engine, "a"), lease(engine, "b")
    assert await first.take()
    await end(engine)
    assert await second.take()
    assert not await first.take()


async def test_a_holder_that_is_late_keeps_what_nobody_wanted(engine: AsyncEngine) -> None:
    """Its own lease that ended is as free to it as to anybody."""
    held = lease(engine, "a")
    assert await held.take()
    await end(engine)
    assert await held.take()
    assert await remaining(engine) > 0


async def test_released_it_is_free_at_once(engine: AsyncEngine) -> None:
    """A clean stop makes nobody wait."""
    first, second = lease(engine, "a"), lease(engine, "b")
    assert await first.take()
    await first.release()
    assert await second.take()


async def test_nobody_releases_what_is_anothers(engine: AsyncEngine) -> None:
    """Who lost it and lets go of it late takes it from nobody."""
    first, second = lease(engine, "a"), lease(engine, "b")
    assert await second.take()
    await first.release()
    assert not await first.take()


async def test_leases_of_different_names_have_nothing_to_do_with_each_other(engine: AsyncEngine) -> None:
    """One node sends webhooks while another rotates."""
    assert await lease(engine, "a", "webhooks").take()
    assert await lease(engine, "b", "scheduler").take()


async def test_a_store_that_is_away_gives_no_lease() -> None:
    """An outage is not an answer: who asked must not go on as if it held it."""
    dead = storage_engine.open_engine("postgresql://nobody@127.0.0.1:1/none", password="none")
    with pytest.raises(storage_engine.StorageUnavailable):
        await lease(dead, "a").take()
    await dead.dispose()


async def test_one_holder_s_leases_are_apart_and_released_together(engine: AsyncEngine) -> None:
    """Losing one says nothing of another; a clean stop frees all of them."""
    mine, theirs = (leases.Leases(engine, holder, LONG_MS) for holder in ("node-1", "node-2"))
    assert await theirs.held("webhooks")
    assert [await mine.held(name) for name in ("webhooks", "sink:copy")] == [False, True]
    assert not await theirs.held("sink:copy")
    await mine.release()
    assert await theirs.held("sink:copy")
