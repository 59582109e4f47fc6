"""Freezing a route or an environment: audited, told apart, and never twice."""

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from keys import environment, freezes
from keys.changes import Author
from storage import audit
from storage.engine import reading
from tests.support import oauth_clients
from tests.support.custody import START_MS, Room

OFFICER = Author("officer", "odd orders")


@pytest.fixture
def switch(room: Room) -> freezes.Freezes:
    return freezes.Freezes(room.engine, room.changes)


async def events(engine: AsyncEngine) -> list[audit.AuditEvent]:
    async with reading(engine) as conn:
        return [entry.event for entry in await audit.tail(conn, 100)]


async def test_what_is_frozen_is_listed_with_who_did_it_and_why(switch: freezes.Freezes, room: Room) -> None:
    """Environments before routes."""
    route = await switch.freeze_route("orders-create", author=OFFICER)
    await switch.freeze_environment("live", author=Author("other"))
    listed = await switch.list()
    assert [(each.kind, each.name) for each in listed] == [
        ("environment", "live"),
        ("route", "orders-create"),
    ]
    assert listed[1] == route
    assert (route.frozen_at, route.frozen_by, route.reason) == (START_MS, "officer", "odd orders")
    assert listed[0].revision == route.revision + 1
    assert room.wakeup.announced[-2:] == [route.revision, listed[0].revision]


async def test_thawing_takes_it_off_the_list(switch: freezes.Freezes) -> None:
    """And answers with what it was, at the revision of the change that thawed it."""
    frozen = await switch.freeze_environment("paper", author=OFFICER)
    thawed = await switch.unfreeze_environment("paper", author=Author("second"))
    assert (thawed.name, thawed.frozen_by, thawed.revision) == ("paper", "officer", frozen.revision + 1)
    await switch.freeze_route("orders", author=OFFICER)
    await switch.unfreeze_route("orders", author=OFFICER)
    assert await switch.list() == ()


async def test_every_change_is_in_the_ledger(switch: freezes.Freezes, room: Room) -> None:
    """With what was there before."""
    await switch.freeze_route("orders", author=OFFICER)
    await switch.unfreeze_route("orders", author=Author("second", "over"))
    await switch.freeze_environment("live", author=OFFICER)
    await switch.unfreeze_environment("live", author=OFFICER)
    told = (await events(room.engine))[-4:]
    assert [(event.action, event.subject, event.environment) for event in told] == [
        ("route.frozen", "orders", None),
        ("route.unfrozen", "orders", None),
        ("environment.frozen", "live", "live"),
        ("environment.unfrozen", "live", "live"),
    ]
    assert (told[1].actor, told[1].reason) == ("second", "over")
    assert told[1].details == {
        "frozen_at": START_MS,
        "frozen_by": "officer",
        "frozen_reason": "odd orders",
    }


async def test_frozen_twice_is_a_conflict_that_changes_nothing(switch: freezes.Freezes, room: Room) -> None:
    """Who froze it first, and why, stays."""
    await switch.freeze_route("orders", author=OFFICER)
    await switch.freeze_environment("live", author=OFFICER)
    before = (await switch.list(), len(await events(room.engine)))
    with pytest.raises(freezes.AlreadyFrozen):
        await switch.freeze_route("orders", author=Author("late", "me too"))
    with pytest.raises(freezes.AlreadyFrozen):
        await switch.freeze_environment("live", author=Author("late"))
    assert (await switch.list(), len(await events(room.engine))) == before


async def test_what_is_not_frozen_cannot_be_thawed(switch: freezes.Freezes) -> None:
    """Also when something else of that name is."""
    await switch.freeze_route("live", author=OFFICER)
    with pytest.raises(freezes.NotFrozen):
        await switch.unfreeze_environment("live", author=OFFICER)
    with pytest.raises(freezes.NotFrozen):
        await switch.unfreeze_route("orders", author=OFFICER)


async def test_what_cannot_be_there_is_refused(switch: freezes.Freezes) -> None:
    """A misspelt environment would stop nothing."""
    with pytest.raises(environment.UnknownEnvironment):
        await switch.freeze_environment("prod", author=OFFICER)
    with pytest.raises(freezes.InvalidRouteName):
        await switch.freeze_route("Orders/../x", author=OFFICER)


async def test_the_whole_list_tells_of_partners_keys_and_clients_too(
    switch: freezes.Freezes, room: Room
) -> None:
    """One place to see everything that is stopped, and nothing that is not."""
    frozen, other = await room.create_key(), await room.create_key()
    await room.custody.freeze_key(frozen.key.id, author=OFFICER)
    await room.custody.unfreeze_key(frozen.key.id, author=OFFICER)
    room.clock.now_ms += 1_000
    await room.custody.freeze_key(frozen.key.id, author=Author("night shift", "odd orders"))
    await room.custody.freeze_partner("acme", author=Author("officer"))
    await switch.freeze_environment("paper", author=OFFICER)
    client = await oauth_clients.made(room.oauth_clients)
    await room.oauth_clients.freeze(client.id, author=Author("day shift"))
    listed = await switch.list_all()
    assert [each.frozen_by for each in listed] == ["officer", "officer", "night shift", "day shift"]
    assert [(each.kind, each.name, each.reason) for each in listed] == [
        ("environment", "paper", "odd orders"),
        ("partner", "acme", None),
        ("api-key", frozen.key.id, "odd orders"),
        ("oauth-client", client.id, None),
    ]
    assert other.key.id not in {each.name for each in listed}
