import asyncio

import pytest
import sqlalchemy as sa

from keys import changes, requests
from keys.changes import Author
from storage import audit, engine, revision, schema
from tests.support.custody import Room


async def stored(room: Room) -> tuple[int, int, int]:
    """How many partners and audit events there are, and the revision."""
    async with engine.reading(room.engine) as conn:
        partners = await conn.scalar(sa.select(sa.func.count()).select_from(schema.partners))
        events = await conn.scalar(sa.select(sa.func.count()).select_from(schema.audit_events))
        return partners or 0, events or 0, await revision.current(conn)


async def insert_partner(change: changes.Change, partner_id: str) -> None:
    await change.conn.execute(
        sa.insert(schema.partners).values(
            id=partner_id, name="n", tier="t", created_at=change.at, revision=change.revision
        )
    )


async def test_rows_revision_and_event_are_committed_together(empty_room: Room) -> None:
    """After a change its rows, event and revision are there, and the wake-up was sent after the commit."""
    before = await stored(empty_room)
    async with empty_room.changes.begin(Author("operator", "because")) as change:
        await insert_partner(change, "acme")
        await change.record("partner.created", "acme", details={"name": "n"})
        assert not empty_room.wakeup.announced
    assert await stored(empty_room) == (1, before[1] + 1, before[2] + 1)
    assert empty_room.wakeup.announced == [before[2] + 1]
    async with engine.reading(empty_room.engine) as conn:
        event = (await audit.tail(conn, 1))[0]
    assert "because" in repr(event)


async def test_a_failure_leaves_nothing(empty_room: Room) -> None:
    """An exception in the middle takes back the rows, the event and the revision, and nobody is woken."""

    async def fail() -> None:
        async with empty_room.changes.begin(Author("operator")) as change:
            await insert_partner(change, "acme")
            await change.record("partner.created", "acme")
            raise RuntimeError("in the middle")

    before = await stored(empty_room)
    with pytest.raises(RuntimeError, match="in the middle"):
        await fail()
    assert await stored(empty_room) == before
    assert not empty_room.wakeup.announced


async def test_an_unrecorded_change_is_not_committed(empty_room: Room) -> None:
    """Nothing is changed without an audit event."""
    before = await stored(empty_room)
    with pytest.raises(changes.UnrecordedChange):
        async with empty_room.changes.begin(Author("operator")) as change:
            await insert_partner(change, "acme")
    assert await stored(empty_room) == before
    assert not empty_room.wakeup.announced


async def test_an_abandoned_change_is_taken_back_quietly(empty_room: Room) -> None:
    """Where there turns out to be nothing to do, nothing is done, and that is no error."""
    before = await stored(empty_room)
    async with empty_room.changes.begin(Author("operator")) as change:
        await insert_partner(change, "acme")
        change.abandon()
    assert await stored(empty_room) == before
    assert not empty_room.wakeup.announced


async def test_a_wrong_reason_is_refused_before_the_store_is_asked(empty_room: Room) -> None:
    """A reason with control characters never reaches the ledger."""
    with pytest.raises(requests.InvalidReason):
        async with empty_room.changes.begin(Author("operator", "\x1b[2J")):
            pytest.fail("the block must not run")


async def test_concurrent_changes_get_revisions_of_their_own(empty_room: Room) -> None:
    """Changes that race are serialised: each has its revision, in the order of their commits."""
    before = (await stored(empty_room))[2]

    async def create(number: int) -> None:
        async with empty_room.changes.begin(Author("operator")) as change:
            await insert_partner(change, f"p{number}")
            await change.record("partner.created", f"p{number}")

    await asyncio.gather(*(create(number) for number in range(4)))
    assert sorted(empty_room.wakeup.announced) == [before + n for n in range(1, 5)]
