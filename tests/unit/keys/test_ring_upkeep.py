"""Rings follow their schedule, within their own times, on every node, and only where nobody outside has to follow."""

import asyncio
import itertools
import os
import random
from typing import NamedTuple

import msgspec
import pytest

from keys import ring, scheduler
from keys.changes import Author
from keys.ring import LEDGER, Ring
from keys.ring_rotation import FOR_EVER_MS, RingRotation, RingTimes
from keys.ring_upkeep import RingUpkeep
from keys.schedules import DAY_MS, DEFAULTS, HOUR_MS, Schedule, Schedules
from storage import engine, nodes
from tests.support.custody import START_MS, Room
from tests.support.rotated import events

OPERATOR = Author("operator", "a test")
TIMES = RingTimes(lifetime_ms=30_000, skew_ms=1_000, cache_ms=300_000, spread_ms=30_000)
MONTH_MS = 30 * DAY_MS


def schedules(**terms: object) -> Schedules:
    made = msgspec.structs.replace(DEFAULTS["ring"], **terms)
    return Schedules(configured={("ring", "service"): made})


def keeping(room: Room, terms: Schedules | None = None, opened: Ring | None = None) -> RingUpkeep:
    rotated = RingRotation(opened or room.ring(), room.changes, TIMES)
    return RingUpkeep(room.engine, room.changes, room.clock, [rotated], terms or Schedules())


async def turn(upkeep: RingUpkeep) -> list[tuple[str, str | None]]:
    outcomes = await scheduler.run_due((upkeep,), author=scheduler.AUTHOR)
    return [(one.action.step, one.failure) for one in outcomes]


async def states(room: Room) -> list[str]:
    return [each.state for each in await RingRotation(room.ring(), room.changes, TIMES).list_versions()]


async def test_a_ring_goes_round_by_itself(empty_room: Room) -> None:
    """An hour ahead the next key is announced; it signs, the old one leaves the key set, and its material goes."""
    room = empty_room
    await room.ring().ensure(author=OPERATOR)
    kept = keeping(room)
    assert await turn(kept) == []
    for at, step, left in (
        (MONTH_MS - HOUR_MS, "announce", ["active", "pending"]),
        (MONTH_MS, "activate", ["retiring", "active"]),
        (MONTH_MS + HOUR_MS, "retire", ["revoked", "active"]),
        (MONTH_MS + HOUR_MS + 7 * DAY_MS, "destroy", ["destroyed", "active"]),
    ):
        room.clock.now_ms = START_MS + at - 1
        assert await turn(kept) == []
        room.clock.now_ms += 1
        assert await turn(kept) == [(step, None)]
        assert await turn(kept) == []
        assert await states(room) == left
    assert {event["actor"] for event in await events(room) if event["action"] == "ring_key.announced"} == {
        "scheduler"
    }


async def test_a_plan_tells_the_same_and_changes_nothing(empty_room: Room) -> None:
    """Step for step what is done later, at the times at which it is done."""
    room = empty_room
    await room.ring().ensure(author=OPERATOR)
    kept = keeping(room)
    planned = await kept.plan(START_MS + 3 * MONTH_MS)
    assert [one.step for one in planned][:5] == ["announce", "activate", "retire", "destroy", "announce"]
    assert {one.label for one in planned} == {ring.IDENTITY}
    assert await states(room) == ["active"]
    for action in planned:
        room.clock.now_ms = action.at
        assert await turn(kept) == [(action.step, None)]


class Copy(NamedTuple):
    """A key set as a verifier fetched it."""

    at: int
    kids: frozenset[str]


class Signature(NamedTuple):
    at: int
    kid: str


class World:
    """Two nodes, one as far behind as a node may be, and verifiers who keep key sets for as long as they may."""

    def __init__(self, room: Room, tight: Schedules) -> None:
        self.room = room
        self.fresh, self.behind = room.ring(), room.ring()
        self.refreshed_at = 0
        self.kept = keeping(room, tight, self.fresh)
        self.copies: list[Copy] = []
        self.signatures: list[Signature] = []

    async def look(self) -> None:
        now_ms = self.room.clock()
        await self.fresh.refresh()
        if now_ms - self.refreshed_at >= TIMES.spread_ms:
            await self.behind.refresh()
            self.refreshed_at = now_ms
        for node in (self.fresh, self.behind):
            self.copies.append(Copy(now_ms, frozenset(jwk["kid"] for jwk in node.jwks())))
            self.signatures.append(Signature(now_ms, node.get_signer().kid))
        self.copies = [each for each in self.copies if now_ms - each.at <= TIMES.cache_ms]
        self.signatures = [each for each in self.signatures if now_ms - each.at <= TIMES.lifetime_ms]
        for copy in self.copies:
            assert {each.kid for each in self.signatures} <= copy.kids


async def test_no_verifier_misses_a_key_in_a_year(empty_room: Room) -> None:
    """On the shortest terms: each key set that may be kept has the key of whatever either node signs."""
    room, chance = empty_room, random.Random(20_251_120)
    await room.ring().ensure(author=OPERATOR)
    tight = schedules(announce_ahead_ms=0, overlap_ms=0)
    world = World(room, tight)
    done: list[str] = []
    while room.clock() < START_MS + 365 * DAY_MS:
        await world.look()
        done += [step for step, _ in await turn(world.kept)]
        await world.look()
        planned = await world.kept.plan(room.clock() + 60 * DAY_MS)
        # Close steps around whatever happens; nothing happens in between.
        far_ms = min(one.at for one in planned) - room.clock() - 400_000
        room.clock.now_ms += far_ms if far_ms > 0 else chance.choice((10_000, 29_999, 150_000, 300_000))
    assert done.count("activate") == 12
    made = await RingRotation(room.ring(), room.changes, TIMES).list_versions()
    for earlier, later in itertools.pairwise(made):
        if later.activated_at is not None:
            assert later.activated_at - later.created_at >= TIMES.lead_ms
            assert earlier.retiring_at == later.activated_at
        if earlier.revoked_at is not None:
            assert earlier.revoked_at - (earlier.retiring_at or 0) >= TIMES.overlap_ms


async def test_no_schedule_is_faster_than_a_ring_can_be(empty_room: Room) -> None:
    """A life that is shorter than its announcement and its overlap is stretched to them."""
    room = empty_room
    await room.ring().ensure(author=OPERATOR)
    hasty = Schedule(
        max_age_ms=60_000, overlap_ms=0, longest_overlap_ms=0, warn_ahead_ms=(), destroy_after_ms=0, auto=True
    )
    kept = keeping(room, Schedules(configured={("ring", "service"): hasty}))
    (first, *_) = await kept.plan(START_MS + DAY_MS)
    assert (first.step, first.at) == ("announce", START_MS + TIMES.overlap_ms + 1)
    room.clock.now_ms += 60_000
    assert await turn(kept) == []


async def test_a_key_waits_for_nodes_that_do_not_have_it(empty_room: Room) -> None:
    """However long it was announced: a node that is behind still publishes the key set without it."""
    room = empty_room
    await room.ring().ensure(author=OPERATOR)
    kept = keeping(room)
    room.clock.now_ms += MONTH_MS - HOUR_MS
    await turn(kept)
    announced = room.wakeup.announced[-1]
    await report(room, announced - 1)
    room.clock.now_ms += HOUR_MS
    assert await kept.due() == ()
    assert await states(room) == ["active", "pending"]
    # Also where it fell behind after somebody had looked.
    await report(room, announced)
    (action,) = await kept.due()
    await report(room, announced - 1)
    assert not await kept.apply(action, author=scheduler.AUTHOR)
    await report(room, announced)
    assert await turn(kept) == [("activate", None)]


async def report(room: Room, revision: int) -> None:
    receipt = nodes.Receipt(
        id="gate-1",
        host="gate-1",
        version="1",
        surfaces=("edge",),
        started_ago_ms=0,
        revision=revision,
        applied_ago_ms=0,
        committed_at=None,
        incomplete=0,
    )
    async with engine.transaction(room.engine) as conn:
        await nodes.report(conn, receipt)


async def test_what_auditors_have_pinned_does_not_change_by_itself(empty_room: Room) -> None:
    """No key of the ledger's is made, and none that was announced signs; it is warned of where that is asked for."""
    room = empty_room
    pinned = Ring(room.engine, room.data_keys, room.changes, room.clock, os.urandom, name=LEDGER)
    await pinned.ensure(author=OPERATOR)
    times = RingTimes(lifetime_ms=FOR_EVER_MS)
    rotated = RingRotation(pinned, room.changes, times)
    terms = schedules(warn_ahead_ms=(DAY_MS,))
    kept = RingUpkeep(room.engine, room.changes, room.clock, [rotated], terms)
    room.clock.now_ms += MONTH_MS
    assert await turn(kept) == [("warn", None)]
    assert await turn(kept) == []
    (told,) = [event for event in await events(room) if event["action"] == "secret.expiring"]
    assert (told["subject"], told["details"]["kind"]) == ("ring_ledger", "ring")
    await rotated.announce(author=OPERATOR)
    room.clock.now_ms += DAY_MS
    assert await turn(kept) == []
    assert await kept.plan(room.clock() + 365 * DAY_MS) == ()
    await rotated.activate(author=OPERATOR)
    assert await kept.plan(
        room.clock() + 365 * DAY_MS
    )  # The next warning, and no end of what verifies the past.
    assert {one.step for one in await kept.plan(room.clock() + 365 * DAY_MS)} == {"warn"}


async def test_a_ring_that_is_rotated_by_hand_is_left_alone(empty_room: Room) -> None:
    """Without `auto` an operator's key signs when the operator says so; what has ended still ends."""
    room = empty_room
    await room.ring().ensure(author=OPERATOR)
    rotated = RingRotation(room.ring(), room.changes, TIMES)
    kept = keeping(room, schedules(auto=False))
    await rotated.announce(author=OPERATOR)
    room.clock.now_ms += 2 * MONTH_MS
    assert await turn(kept) == []
    await rotated.activate(author=OPERATOR)
    room.clock.now_ms += TIMES.overlap_ms
    assert await turn(kept) == [("retire", None)]


async def test_a_key_that_an_operator_announced_signs_in_its_time(empty_room: Room) -> None:
    """Where rings go by themselves, one that was begun by hand is not left half way."""
    room = empty_room
    await room.ring().ensure(author=OPERATOR)
    await RingRotation(room.ring(), room.changes, TIMES).announce(author=OPERATOR)
    room.clock.now_ms += TIMES.lead_ms
    assert await turn(keeping(room)) == [("activate", None)]


@pytest.mark.parametrize("ahead", [0, 1, 2, 3])
async def test_what_two_nodes_do_at_once_is_done_once(empty_room: Room, ahead: int) -> None:
    """Every step of a ring: one node takes it, and the others find that it is not due any more."""
    room = empty_room
    await room.ring().ensure(author=OPERATOR)
    moments = [MONTH_MS - HOUR_MS, MONTH_MS, MONTH_MS + HOUR_MS, MONTH_MS + HOUR_MS + 7 * DAY_MS]
    for moment in moments[:ahead]:
        room.clock.now_ms = START_MS + moment
        await turn(keeping(room))
    room.clock.now_ms = START_MS + moments[ahead]
    several = [keeping(room.another_node()) for _ in range(3)]
    (action,) = await several[0].due()
    done = await asyncio.gather(*(each.apply(action, author=scheduler.AUTHOR) for each in several))
    assert sorted(done) == [False, False, True]


async def test_a_ring_that_was_not_made_yet_has_nothing_due(empty_room: Room) -> None:
    """It is made by `init`, and not by the scheduler."""
    assert await keeping(empty_room).due() == ()
    assert await keeping(empty_room).plan(START_MS + 365 * DAY_MS) == ()
