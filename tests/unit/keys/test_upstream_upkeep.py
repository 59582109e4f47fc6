"""Upstream credentials in their time: warned of, activated, retired and destroyed, and never made."""

import asyncio
import os

import pytest

from keys import scheduler, versions
from keys.changes import Author
from keys.schedules import DAY_MS, DEFAULTS, Schedules
from keys.secret import Secret
from keys.upstream_credentials import CredentialRequest, InvalidActivation, UpstreamCredentials
from keys.upstream_upkeep import UpstreamUpkeep
from storage import engine
from tests.support.custody import START_MS, Room
from tests.support.rotated import events

OPERATOR = Author("operator", "a test")
SPREAD_MS = 30_000
HEADER = CredentialRequest(
    upstream="desk", environment="paper", form="header", source="local", details={"header": "x-api-key"}
)
ELSEWHERE = CredentialRequest(
    upstream="broker",
    environment="live",
    form="header",
    source="aws-secrets-manager",
    details={"header": "x-api-key", "secret_id": "broker"},
)


def credentials(room: Room) -> UpstreamCredentials:
    return UpstreamCredentials(room.engine, room.data_keys, room.changes, os.urandom, spread_ms=SPREAD_MS)


def keeping(room: Room) -> UpstreamUpkeep:
    return UpstreamUpkeep(room.engine, room.changes, room.clock, credentials(room), Schedules())


@pytest.fixture
async def held(empty_room: Room) -> UpstreamCredentials:
    made = credentials(empty_room)
    await made.create(HEADER, Secret("first"), author=OPERATOR)
    return made


async def turn(upkeep: UpstreamUpkeep) -> list[tuple[str, str | None]]:
    outcomes = await scheduler.run_due((upkeep,), author=scheduler.AUTHOR)
    return [(one.action.step, one.failure) for one in outcomes]


async def states(room: Room) -> list[str]:
    async with engine.reading(room.engine) as conn:
        return [each.state for each in await versions.read(conn, "upstream_desk")]


async def test_an_old_one_is_warned_of(empty_room: Room, held: UpstreamCredentials) -> None:
    """Once for each threshold, by its upstream; the version goes on being sent."""
    room, kept = empty_room, keeping(empty_room)
    for days in (76, 87, 89):
        room.clock.now_ms = START_MS + days * DAY_MS
        assert await turn(kept) == [("warn", None)]
        assert await turn(kept) == []
    told = [event for event in await events(room) if event["action"] == "secret.expiring"]
    assert len(told) == 3
    assert (told[0]["subject"], told[0]["environment"], told[0]["details"]["ending"]) == (
        "upstream_desk",
        "paper",
        "max-age",
    )
    room.clock.now_ms += 1_000 * DAY_MS
    assert await turn(kept) == []
    assert [each.state for each in (await held.get("desk")).versions] == ["active"]


async def test_one_that_was_replaced_goes_its_way(empty_room: Room, held: UpstreamCredentials) -> None:
    """Sent by a node that is behind for so long as it may be, then revoked, then without its material."""
    room, kept = empty_room, keeping(empty_room)
    await held.rotate("desk", Secret("second"), author=OPERATOR)
    room.clock.now_ms += SPREAD_MS - 1
    assert await turn(kept) == []
    room.clock.now_ms += 1
    assert await turn(kept) == [("retire", None)]
    room.clock.now_ms += DEFAULTS["upstream"].destroy_after_ms
    assert await turn(kept) == [("destroy", None)]
    assert await states(room) == ["destroyed", "active"]
    assert [event["action"] for event in await events(room)][-2:] == [
        "upstream_credential.retired",
        "upstream_credential.destroyed",
    ]


async def test_one_that_was_announced_is_sent_from_its_moment_on(
    empty_room: Room, held: UpstreamCredentials
) -> None:
    """And one without a moment waits for an operator."""
    room, kept, at = empty_room, keeping(empty_room), START_MS + DAY_MS
    with pytest.raises(InvalidActivation):
        await held.announce("desk", Secret("late"), activates_at=START_MS, author=OPERATOR)
    await held.announce("desk", Secret("second"), activates_at=at, author=OPERATOR)
    planned = [(one.step, one.at) for one in await kept.plan(at + DAY_MS)]
    assert planned == [("activate", at), ("retire", at + SPREAD_MS)]
    room.clock.now_ms = at
    assert await turn(kept) == [("activate", None)]
    assert await states(room) == ["retiring", "active"]
    room.clock.now_ms += SPREAD_MS
    assert await turn(kept) == [("retire", None)]
    await held.announce("desk", Secret("third"), author=OPERATOR)
    room.clock.now_ms += DAY_MS
    assert await turn(kept) == []


async def test_what_was_removed_loses_its_material(empty_room: Room, held: UpstreamCredentials) -> None:
    """Nobody can name its upstream any more, and the versions go all the same."""
    room, kept = empty_room, keeping(empty_room)
    await held.remove("desk", author=OPERATOR)
    room.clock.now_ms += DEFAULTS["upstream"].destroy_after_ms
    assert await turn(kept) == [("destroy", None)]
    assert await states(room) == ["destroyed"]


async def test_of_one_that_lies_elsewhere_nothing_is_due(empty_room: Room) -> None:
    """Its labels say what is sent, and nodes read them."""
    room = empty_room
    await credentials(room).create(ELSEWHERE, None, author=OPERATOR)
    room.clock.now_ms += 365 * DAY_MS
    assert await keeping(room).due() == ()
    assert await keeping(room).plan(room.clock() + 365 * DAY_MS) == ()


async def test_what_two_nodes_do_at_once_is_done_once(empty_room: Room, held: UpstreamCredentials) -> None:
    """An activation, an end, a destruction and a warning."""
    room = empty_room
    await held.announce("desk", Secret("second"), activates_at=START_MS + DAY_MS, author=OPERATOR)
    for wait_ms, step in (
        (DAY_MS, "activate"),
        (SPREAD_MS, "retire"),
        (30 * DAY_MS, "destroy"),
        (46 * DAY_MS, "warn"),
    ):
        room.clock.now_ms += wait_ms
        several = [keeping(room.another_node()) for _ in range(3)]
        (action,) = await several[0].due()
        assert action.step == step
        done = await asyncio.gather(*(each.apply(action, author=scheduler.AUTHOR) for each in several))
        assert sorted(done) == [False, False, True]
