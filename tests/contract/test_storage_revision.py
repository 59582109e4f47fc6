"""The revision: grows with every change, and becomes visible in order."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import clock, revision
from storage.engine import reading, transaction


async def current(engine: AsyncEngine) -> int:
    async with reading(engine) as conn:
        return await revision.current(conn)


async def test_a_new_store_is_at_revision_nought(engine: AsyncEngine) -> None:
    """Nothing has changed yet."""
    assert await current(engine) == 0


async def test_each_change_has_a_revision_of_its_own(engine: AsyncEngine) -> None:
    """However many writers there are at once."""

    async def change() -> int:
        async with transaction(engine) as conn:
            return await revision.bump(conn)

    bumped = await asyncio.gather(*(change() for _ in range(20)))
    assert sorted(bumped) == list(range(1, 21))
    assert await current(engine) == 20


async def test_a_change_that_is_taken_back_takes_its_revision_with_it(engine: AsyncEngine) -> None:
    """Nobody waits for a revision that never comes."""

    async def bump_and_fail() -> None:
        async with transaction(engine) as conn:
            await revision.bump(conn)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await bump_and_fail()
    assert await current(engine) == 0


async def test_a_later_revision_is_not_visible_before_an_earlier_one(engine: AsyncEngine) -> None:
    """A reader that saw N and asks for what is newer than N misses nothing."""
    bumped: list[int] = []

    async def change() -> None:
        async with transaction(engine) as conn:
            bumped.append(await revision.bump(conn))

    async with transaction(engine) as conn:
        assert await revision.bump(conn) == 1
        second = asyncio.create_task(change())
        await asyncio.sleep(0.05)
        assert (bumped, await current(engine)) == ([], 0)
    await second
    assert (bumped, await current(engine)) == ([2], 2)


async def test_a_change_is_dated_by_the_store(engine: AsyncEngine) -> None:
    """When the latest revision was made stands beside it; a new store has not changed yet."""
    async with transaction(engine) as conn:
        assert await revision.latest(conn) == revision.Revision(0, None)
        before = (await conn.execute(sqlalchemy.select(clock.now_ms(engine.dialect.name)))).scalar_one()
        await revision.bump(conn)
        value, changed_at = await revision.latest(conn)
        after = (await conn.execute(sqlalchemy.select(clock.now_ms(engine.dialect.name)))).scalar_one()
    assert value == 1
    assert changed_at is not None
    assert before <= changed_at <= after
