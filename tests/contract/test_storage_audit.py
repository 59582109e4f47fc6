"""The audit ledger: whole events, in order, together with the change they tell of or not at all."""

from __future__ import annotations

import msgspec
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import audit, chain, schema
from storage.audit import AuditEvent
from storage.engine import reading, transaction


def event(number: int) -> AuditEvent:
    return AuditEvent(
        at=number,
        revision=number,
        actor="operator:ada",
        action="key.created",
        subject=f"prk_paper_{number}",
        environment="paper",
        details={"roles": ["trader"], "expires_at": None, "limits": {"rate": 15, "hard": True}, "note": "é"},
        reason="onboarding",
    )


async def append(engine: AsyncEngine, *events: AuditEvent) -> list[int]:
    async with transaction(engine) as conn:
        return [(await audit.append(conn, each)).seq for each in events]


async def tail(engine: AsyncEngine, limit: int) -> list[audit.AuditEntry]:
    async with reading(engine) as conn:
        return await audit.tail(conn, limit)


async def test_an_event_comes_back_as_it_was(engine: AsyncEngine) -> None:
    """With everything that JSON can say."""
    [seq] = await append(engine, event(1))
    (entry,) = await tail(engine, 10)
    assert (entry.seq, entry.event) == (seq, event(1))


async def test_what_is_not_said_is_absent(engine: AsyncEngine) -> None:
    """No environment, no reason and no details are none."""
    plain = AuditEvent(at=1, revision=1, actor="system", action="ring.opened", subject="identity")
    [seq] = await append(engine, plain)
    (entry,) = await tail(engine, 1)
    assert (entry.seq, entry.event) == (seq, plain)


async def test_the_tail_is_the_newest_with_the_oldest_first(engine: AsyncEngine) -> None:
    """As one reads a log."""
    numbers = await append(engine, *(event(number) for number in range(1, 6)))
    assert numbers == sorted(set(numbers))
    assert [entry.event.at for entry in await tail(engine, 3)] == [3, 4, 5]


async def test_an_event_is_taken_back_with_its_change(engine: AsyncEngine) -> None:
    """What did not happen is not told."""

    async def append_and_fail() -> None:
        async with transaction(engine) as conn:
            await audit.append(conn, event(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await append_and_fail()
    assert await tail(engine, 10) == []


async def test_a_number_is_never_given_twice(engine: AsyncEngine) -> None:
    """Not even when somebody removed the last event by hand."""
    [first] = await append(engine, event(1))
    async with transaction(engine) as conn:
        await conn.execute(sa.delete(schema.audit_events))
    [second] = await append(engine, event(2))
    assert second > first


async def test_every_entry_names_the_hash_of_the_one_before(engine: AsyncEngine) -> None:
    """And its own is over all that it says, as it comes back out of the store."""
    await append(engine, *(event(number) for number in range(1, 4)))
    entries = await tail(engine, 10)
    assert [entry.previous for entry in entries] == [chain.BEFORE_THE_FIRST, *(e.hash for e in entries[:-1])]
    for entry in entries:
        said = msgspec.structs.asdict(entry.event) | {"seq": entry.seq, "previous": entry.previous}
        assert chain.link(said) == entry.hash
