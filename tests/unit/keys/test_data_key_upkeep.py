"""Data keys follow their schedule: a new epoch when it is time, one however many look."""

import asyncio

from keys import data_key_rows, scheduler
from keys.changes import Author
from keys.data_key_upkeep import DataKeyUpkeep
from keys.register import Domain
from keys.schedules import DAY_MS, DEFAULTS, Schedule, ScheduledKind, Schedules
from storage import engine
from tests.support.custody import START_MS, Room
from tests.support.rotated import events

QUARTER_MS = 90 * DAY_MS
OPERATOR = Author("operator")


def keeping(room: Room, configured: dict[Domain, Schedule] | None = None) -> DataKeyUpkeep:
    terms: dict[tuple[ScheduledKind, Domain], Schedule] = {
        ("data-key", domain): schedule for domain, schedule in (configured or {}).items()
    }
    return DataKeyUpkeep(room.engine, room.data_keys, room.clock, Schedules(configured=terms))


async def turn(upkeep: DataKeyUpkeep) -> list[tuple[str, str | None]]:
    outcomes = await scheduler.run_due((upkeep,), author=scheduler.AUTHOR)
    return [(f"{one.action.step} {one.action.secret_id}", one.failure) for one in outcomes]


async def epochs(room: Room, domain: Domain = "paper") -> list[str]:
    async with engine.reading(room.engine) as conn:
        found = await data_key_rows.list_all(conn)
    return [each.state for each in found if each.environment == domain]


async def test_an_epoch_begins_when_the_last_one_is_old(empty_room: Room) -> None:
    """Not a moment before, once, and what is sealed under the old one stays as it is."""
    room = empty_room
    held = await room.data_keys.get_current("paper")
    kept = keeping(room)
    room.clock.now_ms += QUARTER_MS - 1
    assert await turn(kept) == []
    room.clock.now_ms += 1
    assert await turn(kept) == [("rotate dk_paper", None)]
    assert await turn(kept) == []
    assert await epochs(room) == ["retiring", "active"]
    assert (await room.data_keys.get_current("paper")).id != held.id
    assert (await room.data_keys.get(held.id)).reveal() == held.key.reveal()
    assert {event["actor"] for event in await events(room) if event["action"] == "data_key.retiring"} == {
        "scheduler"
    }


async def test_each_domain_has_its_own_schedule(empty_room: Room) -> None:
    """A shorter one, and one that waits for an operator."""
    room = empty_room
    for domain in ("paper", "live", "service"):
        await room.data_keys.get_current(domain)
    default = DEFAULTS["data-key"]
    never = Schedule(
        max_age_ms=None,
        overlap_ms=0,
        longest_overlap_ms=default.longest_overlap_ms,
        warn_ahead_ms=(),
        destroy_after_ms=0,
    )
    by_hand = Schedule(
        max_age_ms=8 * DAY_MS, overlap_ms=0, longest_overlap_ms=0, warn_ahead_ms=(), destroy_after_ms=0
    )
    kept = keeping(room, {"paper": never, "live": by_hand})
    room.clock.now_ms += QUARTER_MS
    assert await turn(kept) == [("rotate dk_service", None)]


async def test_a_plan_tells_each_epoch(empty_room: Room) -> None:
    """At its age after the one before; what is overdue at once. Nothing is changed."""
    room = empty_room
    assert await keeping(room).plan(START_MS + QUARTER_MS) == ()
    await room.data_keys.get_current("live")
    planned = await keeping(room).plan(START_MS + 2 * QUARTER_MS)
    assert [(one.at, one.version, one.environment) for one in planned] == [
        (START_MS + QUARTER_MS, 2, "live"),
        (START_MS + 2 * QUARTER_MS, 3, "live"),
    ]
    room.clock.now_ms += QUARTER_MS + DAY_MS
    assert [one.at for one in await keeping(room).plan(room.clock())] == [room.clock()]
    assert await epochs(room, "live") == ["active"]


async def test_what_two_nodes_do_at_once_is_done_once(empty_room: Room) -> None:
    """The epoch that one node begins is young to the others: none begins a further one, and none has failed."""
    room = empty_room
    await room.data_keys.get_current("paper")
    room.clock.now_ms += QUARTER_MS
    several = [keeping(room.another_node()) for _ in range(3)]
    (action,) = await several[0].due()
    done = await asyncio.gather(*(each.apply(action, author=scheduler.AUTHOR) for each in several))
    assert sorted(done) == [False, False, True]
    assert await epochs(room) == ["retiring", "active"]


async def test_an_operator_who_was_first_leaves_nothing_to_do(empty_room: Room) -> None:
    """The action that was found before is not due any more."""
    room = empty_room
    await room.data_keys.get_current("paper")
    room.clock.now_ms += QUARTER_MS
    (action,) = await keeping(room).due()
    await room.data_keys.rotate("paper", author=OPERATOR)
    assert not await keeping(room).apply(action, author=scheduler.AUTHOR)
    assert await epochs(room) == ["retiring", "active"]


async def test_without_a_kms_the_epoch_waits(empty_room: Room) -> None:
    """The failure has its name, nothing is changed, and the next turn does it."""
    room = empty_room
    await room.data_keys.get_current("paper")
    room.clock.now_ms += QUARTER_MS
    room.kms.down = True
    assert await turn(keeping(room)) == [("rotate dk_paper", "KmsUnavailable")]
    assert await epochs(room) == ["active"]
    room.kms.down = False
    assert await turn(keeping(room)) == [("rotate dk_paper", None)]
