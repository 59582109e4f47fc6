"""Whoever follows the ledger gets each entry, in order, and its place never goes back."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

from storage import audit, consumers
from storage.engine import reading, transaction


async def append(engine: AsyncEngine, count: int) -> None:
    async with transaction(engine) as conn:
        for number in range(count):
            event = audit.AuditEvent(at=number, revision=1, actor="a", action="b", subject=str(number))
            await audit.append(conn, event)


async def test_a_new_consumer_begins_at_the_end(engine: AsyncEngine) -> None:
    """What happened before it was there is not news; asked for, it gets all of it."""
    await append(engine, 2)
    async with transaction(engine) as conn:
        assert await consumers.register(conn, "webhooks", 1) == 2
        assert await consumers.register(conn, "file", 1, from_start=True) == 0


async def test_a_place_is_kept_and_never_goes_back(engine: AsyncEngine) -> None:
    """A consumer that is registered again goes on where it was; one that lost a race undoes nothing."""
    await append(engine, 3)
    async with transaction(engine) as conn:
        await consumers.register(conn, "file", 1, from_start=True)
        await consumers.advance(conn, "file", 2, 5)
        await consumers.advance(conn, "file", 1, 6)
    async with transaction(engine) as conn:
        assert await consumers.register(conn, "file", 7, from_start=True) == 2


async def test_entries_are_read_in_order_after_a_place(engine: AsyncEngine) -> None:
    """No entry twice, none left out."""
    await append(engine, 5)
    async with reading(engine) as conn:
        first = await audit.read_after(conn, 0, 2)
        rest = await audit.read_after(conn, first[-1].seq, 100)
        assert await consumers.find(conn, "nobody") is None
    assert [entry.event.subject for entry in (*first, *rest)] == ["0", "1", "2", "3", "4"]
