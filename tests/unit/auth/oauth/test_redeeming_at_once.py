"""Fifty redemptions of one thing at once, on two nodes: one succeeds, and what came of it dies with the family."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from auth.oauth.authorization import NoSuchRequest
from auth.oauth.devices import NoSuchUserCode
from auth.oauth.refusals import Refused
from auth.oauth.standing import Bound, Redeemed
from storage import audit, engine, schema
from tests.support import custody
from tests.support import oauth_people as people
from tests.support.oauth_people import ANN, BOUND, CLIENT, PUBLIC, Side

AT_ONCE = 50
PATIENCE_MS = 60_000


@pytest.fixture
async def nodes(migrated_url: str) -> AsyncIterator[tuple[Side, Side]]:
    """Each with connections of its own, to one store. A busy machine may keep all of them waiting."""
    engines = [engine.open_engine(migrated_url, patience_ms=PATIENCE_MS) for _ in range(2)]
    rooms = [custody.build_room(each) for each in engines]
    await people.populate(rooms[0])
    clients = people.KnownClients(CLIENT, PUBLIC)
    yield tuple(people.build_side(room, clients, os.urandom) for room in rooms)  # type: ignore[misc]  # two of them
    for each in engines:
        await each.dispose()


async def race(
    nodes: tuple[Side, Side], redeem: Callable[[Side], Awaitable[Redeemed]]
) -> tuple[Redeemed, list[str]]:
    """The one that succeeded, and what all the others were told."""
    racing = [redeem(nodes[number % 2]) for number in range(AT_ONCE)]
    outcomes = await asyncio.gather(*racing, return_exceptions=True)
    unexpected = [each for each in outcomes if not isinstance(each, Redeemed | Refused)]
    assert unexpected == []
    won = [each for each in outcomes if isinstance(each, Redeemed)]
    assert len(won) == 1
    return won[0], [each.error for each in outcomes if isinstance(each, Refused)]


async def require_dead(
    nodes: tuple[Side, Side], redeemed: Redeemed, client_refresh: Callable[[str], Awaitable[object]]
) -> None:
    """Revoked once, told once, and nothing refreshes any more."""
    grant = await nodes[1].flows.grants.find(redeemed.grant.id)
    assert grant is not None
    assert grant.revoked_at is not None
    async with engine.reading(nodes[0].engine) as conn:
        entries = await audit.search(conn, audit.Search(action="grant.revoked"))
        tokens = (await conn.execute(schema.oauth_refresh_tokens.select())).all()
    assert [entry.event.subject for entry in entries] == [grant.id]
    assert sum(each.used_at is None for each in tokens) <= 1
    assert redeemed.refresh is not None
    with pytest.raises(Refused, match="invalid_grant"):
        await client_refresh(redeemed.refresh.reveal())


async def test_one_code_is_redeemed_once(nodes: tuple[Side, Side]) -> None:
    """Point 8, under concurrency; the others are reuse, which ends the family."""
    code = await people.allow(nodes[0])
    won, told = await race(nodes, lambda side: side.flows.codes.redeem(CLIENT, people.show(code)))
    assert set(told) == {"invalid_grant"}
    tokens = nodes[1].flows.refresh_tokens
    await require_dead(nodes, won, lambda value: tokens.redeem(CLIENT, value, scope=None, bound=BOUND))


async def test_one_rotating_refresh_token_is_redeemed_once(nodes: tuple[Side, Side]) -> None:
    """Point 10, under concurrency."""
    _, value = await people.begin(nodes[0], PUBLIC, Bound())

    def redeem(side: Side, value: str = value) -> Awaitable[Redeemed]:
        return side.flows.refresh_tokens.redeem(PUBLIC, value, scope=None, bound=Bound())

    won, told = await race(nodes, redeem)
    assert set(told) == {"invalid_grant"}
    await require_dead(nodes, won, lambda renewed: redeem(nodes[1], renewed))


async def test_one_device_code_is_redeemed_once(nodes: tuple[Side, Side]) -> None:
    """However often the device asks at the moment in which its person says yes."""
    begun = await nodes[0].flows.devices.begin(CLIENT, {}, None)
    pending = await nodes[1].flows.devices.find(begun.user_code, asker="ann")
    await nodes[1].flows.devices.approve(pending, ANN, frozenset(pending.scope))
    code = begun.device_code.reveal()
    won, told = await race(nodes, lambda side: side.flows.devices.redeem(CLIENT, code, BOUND))
    assert set(told) == {"invalid_grant"}
    tokens = nodes[1].flows.refresh_tokens
    await require_dead(nodes, won, lambda value: tokens.redeem(CLIENT, value, scope=None, bound=BOUND))


async def test_one_pushed_request_is_answered_once(nodes: tuple[Side, Side]) -> None:
    """Point 7, under concurrency: half of them allow it, half of them do not, and one of all is heard."""
    pending = await people.push(nodes[0])

    def answer(number: int) -> Awaitable[str]:
        authorization = nodes[number % 2].flows.authorization
        if number % 4 < 2:
            return authorization.approve(pending, ANN, frozenset(pending.scope))
        return authorization.deny(pending)

    outcomes = await asyncio.gather(*(answer(number) for number in range(20)), return_exceptions=True)
    assert sum(isinstance(each, str) for each in outcomes) == 1
    assert all(isinstance(each, str | NoSuchRequest) for each in outcomes)


async def test_one_user_code_is_decided_once(nodes: tuple[Side, Side]) -> None:
    """Two people who were shown the same code."""
    begun = await nodes[0].flows.devices.begin(CLIENT, {}, None)
    pending = await nodes[0].flows.devices.find(begun.user_code, asker="ann")

    def answer(number: int) -> Awaitable[None]:
        devices = nodes[number % 2].flows.devices
        if number % 4 < 2:
            return devices.approve(pending, ANN, frozenset(pending.scope))
        return devices.deny(pending)

    outcomes = await asyncio.gather(*(answer(number) for number in range(20)), return_exceptions=True)
    assert sum(each is None for each in outcomes) == 1
    assert all(each is None or isinstance(each, NoSuchUserCode) for each in outcomes)
    async with engine.reading(nodes[0].engine) as conn:
        assert len((await conn.execute(schema.oauth_grants.select())).all()) <= 1
