"""What is due is done: by whoever has the lease, each action by itself, once."""

import asyncio
import logging
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from keys import candidates, due, rotations, scheduler
from keys.changes import Author
from keys.due import Action
from keys.records import CreatedKey
from keys.rotations import Wish
from keys.scheduler import Alone, Scheduler
from keys.schedules import DAY_MS, HOUR_MS, Schedules
from keys.usage import Usage
from storage import clock, engine, schema
from tests.support.custody import START_MS, Room

OFFICER = Author("officer")


class FakeLease:
    """Given so many times, then no more."""

    def __init__(self, times: int) -> None:
        self.left = times

    async def take(self) -> bool:
        self.left -= 1
        return self.left >= 0


@pytest.fixture
async def made(room: Room) -> CreatedKey:
    return await room.create_key()


async def states(room: Room, key_id: str) -> list[str]:
    return [each.state for each in (await room.rotations.get(key_id)).versions]


async def told(room: Room, action: str) -> list[dict[str, Any]]:
    table = schema.audit_events
    async with engine.reading(room.engine) as conn:
        found = await conn.execute(sa.select(table).where(table.c.action == action).order_by(table.c.seq))
        return [dict(row) for row in found.mappings()]


async def turn(room: Room) -> list[tuple[str, str | None]]:
    # What the store finds is all that the pure function would tell of.
    everything = await room.rotations.list_all()
    assert await room.rotations.due() == due.due(everything, Schedules(), room.clock())
    outcomes = await Scheduler((room.rotations,), Alone(), 1_000).turn()
    return [(one.action.step, one.failure) for one in outcomes]


@pytest.mark.parametrize("off_ms", [-90 * DAY_MS, -20_000, 20_000, 90 * DAY_MS])
async def test_a_wrong_clock_ends_and_destroys_nothing(
    room: Room, made: CreatedKey, off_ms: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A node that lives in another month is not asked what is due; once it is put right it does its part."""
    await room.rotations.rotate(made.key.id, author=OFFICER)
    room.clock.now_ms += 90 * DAY_MS
    off = off_ms

    async def turns() -> tuple[scheduler.Outcome, ...]:
        async with engine.reading(room.engine) as conn:
            now_ms = await clock.read(conn) + off
        lease = scheduler.InTime(Alone(), room.engine, lambda: now_ms)
        first = await Scheduler((room.rotations,), lease, 1_000).turn()
        return first or await Scheduler((room.rotations,), lease, 1_000).turn()

    assert await turns() == ()
    assert await states(room, made.key.id) == ["retiring", "active"]
    (said,) = [record.getMessage() for record in caplog.records if "clock" in record.getMessage()]
    assert "off the store's" in said
    off = 0
    assert await turns() != ()
    assert (await states(room, made.key.id))[0] != "retiring"


async def test_a_rotation_runs_through_by_itself(room: Room, made: CreatedKey) -> None:
    """Prepared for tomorrow, it is activated, its overlap ends, and the old material is destroyed, each in its time."""
    at = START_MS + DAY_MS
    await room.rotations.rotate(made.key.id, Wish(activates_at=at, overlap_ms=HOUR_MS), author=OFFICER)
    assert await turn(room) == []
    room.clock.now_ms = at
    assert await turn(room) == [("activate", None)]
    assert await states(room, made.key.id) == ["retiring", "active"]
    assert await turn(room) == []
    room.clock.now_ms = at + HOUR_MS
    assert await turn(room) == [("retire", None)]
    room.clock.now_ms += 30 * DAY_MS
    assert await turn(room) == [("destroy", None)]
    assert await states(room, made.key.id) == ["destroyed", "active"]
    assert {event["actor"] for event in await told(room, "secret.retired")} == {"scheduler"}


async def test_an_overlap_ends_although_it_is_used(room: Room, made: CreatedKey) -> None:
    """It was promised to end; the ledger says who was still there."""
    await room.rotations.rotate(made.key.id, author=OFFICER)
    room.clock.now_ms += 7 * DAY_MS
    noted = Usage()
    noted.note(made.key.id, 1, "203.0.113.9", room.clock.now_ms)
    await noted.flush(room.engine)
    assert await turn(room) == [("retire", None)]
    (event,) = await told(room, "secret.retired")
    assert event["details"]["last_used_source"] == "203.0.113.9"


async def test_a_warning_is_told_once(room: Room, made: CreatedKey) -> None:
    """At each threshold, with what ends and when, and whose it is."""
    room.clock.now_ms += 76 * DAY_MS
    assert await turn(room) == [("warn", None)]
    assert await turn(room) == []
    (event,) = await told(room, "secret.expiring")
    assert (event["subject"], event["partner"], event["environment"]) == (made.key.id, "acme", "paper")
    details = event["details"]
    assert (details["kind"], details["version"], details["ending"]) == ("api-key", 1, "max-age")
    assert details["ends_at"] == START_MS + 90 * DAY_MS


async def test_deadlines_that_fall_together_are_told_together(room: Room) -> None:
    """Each by its own event, in one change, once."""
    await room.create_key(expires_at=START_MS + 90 * DAY_MS)
    room.clock.now_ms += 76 * DAY_MS
    assert await turn(room) == [("warn", None)]
    assert await turn(room) == []
    events = await told(room, "secret.expiring")
    assert {event["details"]["ending"] for event in events} == {"expiry", "max-age"}
    assert len({event["revision"] for event in events}) == 1


async def test_a_warning_reloads_no_key(room: Room, made: CreatedKey) -> None:
    """Nodes have nothing to learn from it."""
    table = schema.api_keys
    async with engine.reading(room.engine) as conn:
        before = (await conn.execute(sa.select(table.c.revision))).scalar_one()
    room.clock.now_ms += 76 * DAY_MS
    await turn(room)
    async with engine.reading(room.engine) as conn:
        assert (await conn.execute(sa.select(table.c.revision))).scalar_one() == before
    assert made.key.id


async def test_what_two_nodes_do_at_once_is_done_once(room: Room, made: CreatedKey) -> None:
    """Even when both believe to have the lease."""
    await room.rotations.rotate(made.key.id, author=OFFICER)
    room.clock.now_ms += 76 * DAY_MS
    nodes = [Scheduler((room.another_node().rotations,), Alone(), 1_000) for _ in range(3)]
    done = [one for outcomes in await asyncio.gather(*(node.turn() for node in nodes)) for one in outcomes]
    assert sorted((one.action.step, one.failure) for one in done) == [("retire", None), ("warn", None)]
    assert len(await told(room, "secret.expiring")) == 1


async def test_without_the_lease_nothing_is_done(room: Room, made: CreatedKey) -> None:
    """Neither looked for, nor finished once it is lost in the middle."""
    await room.create_key()
    room.clock.now_ms += 76 * DAY_MS
    assert await Scheduler((room.rotations,), FakeLease(0), 1_000).turn() == ()
    assert await told(room, "secret.expiring") == []
    outcomes = await Scheduler((room.rotations,), FakeLease(2), 1_000).turn()
    assert len(outcomes) == 1
    assert len(await told(room, "secret.expiring")) == 1
    assert made.key.id


class OneFails(rotations.Rotations):
    async def apply(self, action: Action, *, author: Author) -> bool:
        if action.secret_id == self.broken:
            raise engine.StorageUnavailable("gone for this one")
        return await super().apply(action, author=author)

    broken = ""


async def test_a_failure_stops_no_other_action(
    room: Room, made: CreatedKey, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told once however often it comes again, and tried until it works."""
    other = (await room.create_key()).key.id
    room.clock.now_ms += 76 * DAY_MS
    failing = OneFails(
        room.engine, room.changes, room.clock, room.rotations._kinds, room.rotations._schedules
    )
    failing.broken = min(made.key.id, other)
    node = Scheduler((failing,), Alone(), 1_000)
    with caplog.at_level(logging.WARNING):
        outcomes = await node.turn()
        await node.turn()
    assert [one.failure for one in outcomes] == ["StorageUnavailable", None]
    assert [event["subject"] for event in await told(room, "secret.expiring")] == [max(made.key.id, other)]
    assert caplog.text.count("it is tried again") == 1
    failing.broken = ""
    assert [one.failure for one in await node.turn()] == [None]


async def test_the_loop_outlives_an_outage(room: Room, dead_engine: AsyncEngine) -> None:
    """A store that is away ends a turn and not the loop."""
    rests: list[float] = []
    enough = asyncio.Event()

    async def rest(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) == 3:
            enough.set()
        await asyncio.sleep(0)

    away = rotations.Rotations(
        dead_engine, room.changes, room.clock, room.rotations._kinds, room.rotations._schedules
    )
    running = asyncio.create_task(Scheduler((away,), Alone(), 2_000).run(rest))
    async with asyncio.timeout(10):
        await enough.wait()
    running.cancel()
    await asyncio.wait([running])
    assert rests[:3] == [2.0, 2.0, 2.0]


async def test_a_plan_is_the_same_as_what_is_done(room: Room, made: CreatedKey) -> None:
    """The dry run names the action, its time and whom it concerns, and changes nothing."""
    await room.rotations.rotate(made.key.id, author=OFFICER)
    planned = await room.rotations.plan(START_MS + 40 * DAY_MS)
    assert [(each.step, each.at, each.partner) for each in planned] == [
        ("retire", START_MS + 7 * DAY_MS, "acme"),
        ("destroy", START_MS + 37 * DAY_MS, "acme"),
    ]
    assert await states(room, made.key.id) == ["retiring", "active"]
    for action in planned:
        room.clock.now_ms = action.at
        assert await turn(room) == [(action.step, None)]


async def test_an_action_that_is_not_due_any_more_is_left(room: Room, made: CreatedKey) -> None:
    """Somebody else was first: nothing is written, and nothing is told."""
    await room.rotations.rotate(made.key.id, author=OFFICER)
    room.clock.now_ms += 7 * DAY_MS
    (action,) = await room.rotations.due()
    await room.rotations.retire(made.key.id, author=OFFICER)
    assert not await room.rotations.apply(action, author=scheduler.AUTHOR)
    assert len(await told(room, "secret.retired")) == 1


async def test_no_moment_finds_less_than_all(room: Room) -> None:
    """Day by day through a year of keys in every state, the store finds what the pure function tells of all of them."""
    made = [await room.create_key(expires_at=START_MS + ahead * DAY_MS) for ahead in (10, 100, 300)]
    await room.create_key(environment="live")
    await room.rotations.rotate(made[0].key.id, author=OFFICER)
    at = START_MS + 20 * DAY_MS
    await room.rotations.rotate(made[1].key.id, Wish(activates_at=at), author=OFFICER)
    await room.custody.revoke_key(made[2].key.id, author=OFFICER)
    noted = Usage()
    noted.note(made[0].key.id, 1, "203.0.113.9", START_MS + 5)
    await noted.flush(room.engine)
    steps: set[str] = set()
    for _ in range(120):
        steps |= {step for step, _ in await turn(room)}
        room.clock.now_ms += DAY_MS
    assert steps == {"activate", "retire", "warn", "destroy"}


async def test_of_many_keys_few_are_looked_at(room: Room, made: CreatedKey) -> None:
    """Nothing is due of a young key, and of one whose holder was told for the last time."""
    seen: list[int] = []
    for days in (0, 80, 91):
        room.clock.now_ms = START_MS + days * DAY_MS
        await turn(room)
        wanted = candidates.select_ids(Schedules(), ("api-key",), room.clock())
        async with engine.reading(room.engine) as conn:
            seen.append(len((await conn.execute(wanted)).all()))
    assert seen == [0, 1, 0]
    assert made.key.id


async def test_what_is_rotated_by_itself_is_found_in_time(room: Room) -> None:
    """An hour before a ring's key reaches its age, and not a moment before."""
    await room.ring().ensure(author=OFFICER)
    found: list[int] = []
    for now_ms in (START_MS + 30 * DAY_MS - HOUR_MS - 1, START_MS + 30 * DAY_MS - HOUR_MS):
        wanted = candidates.select_ids(Schedules(), ("ring", "api-key"), now_ms)
        async with engine.reading(room.engine) as conn:
            found.append(len((await conn.execute(wanted)).all()))
    assert found == [0, 1]
