"""What a change is made to rest on: decided in its own transaction, whoever else asks at the same time."""

from __future__ import annotations

import asyncio
from functools import partial

import msgspec
import pytest
import sqlalchemy as sa

from keys import api_keys, conditions
from keys.changes import Author
from storage import audit, engine, schema
from tests.support.custody import Room, make_request

ASKED = make_request(partner="acme", environment="paper", algorithm="hmac-sha256", roles=("trader",))


def once(key: str = "request-1", digest: str = "d1", caller: str = "key:a") -> Author:
    return Author(caller, condition=conditions.OnlyOnce(caller, key, digest, "api_key.created"))


def unchanged(key_id: str, revision: int) -> Author:
    find = partial(api_keys.find_revision, key_id=key_id)
    return Author("key:a", condition=conditions.Unchanged(find, frozenset({revision})))


async def count_keys(room: Room) -> int:
    async with engine.reading(room.engine) as conn:
        found: int = (
            await conn.execute(sa.select(sa.func.count()).select_from(schema.api_keys))
        ).scalar_one()
    return found


async def test_a_change_that_rests_on_another_state_is_not_made(room: Room) -> None:
    """And leaves nothing behind: no entry in the ledger, no new revision."""
    key = (await room.create_key()).key
    async with engine.reading(room.engine) as conn:
        before = await audit.head(conn)
    with pytest.raises(conditions.ChangedMeanwhile):
        await room.custody.freeze_key(key.id, author=unchanged(key.id, key.revision - 1))
    async with engine.reading(room.engine) as conn:
        assert await audit.head(conn) == before
    frozen = await room.custody.freeze_key(key.id, author=unchanged(key.id, key.revision))
    assert frozen.revision > key.revision
    with pytest.raises(conditions.ChangedMeanwhile):
        await room.custody.unfreeze_key(key.id, author=unchanged(key.id, key.revision))


async def test_of_many_who_read_the_same_state_on_two_nodes_one_changes_it(room: Room) -> None:
    key = (await room.create_key()).key
    nodes = (room, room.another_node())
    freezing = (
        node.custody.freeze_key(key.id, author=unchanged(key.id, key.revision))
        for node in nodes
        for _ in range(10)
    )
    outcomes = await asyncio.gather(*freezing, return_exceptions=True)
    refused = [one for one in outcomes if isinstance(one, conditions.ChangedMeanwhile)]
    assert len(refused) == len(outcomes) - 1


async def test_fifty_copies_on_two_nodes_make_one_key(room: Room) -> None:
    await room.create_key()
    nodes = (room, room.another_node())
    making = (nodes[number % 2].custody.create_key(ASKED, author=once()) for number in range(50))
    outcomes = await asyncio.gather(*making, return_exceptions=True)
    settled = [one for one in outcomes if isinstance(one, conditions.AlreadySettled)]
    (made,) = [one for one in outcomes if not isinstance(one, BaseException)]
    assert {one.subject for one in settled} == {made.key.id}
    assert (len(settled), await count_keys(room)) == (49, 2)


async def test_the_same_name_for_another_request_is_refused(room: Room) -> None:
    await room.create_key()
    await room.custody.create_key(ASKED, author=once())
    with pytest.raises(conditions.RequestDiffers):
        await room.custody.create_key(ASKED, author=once(digest="d2"))
    await room.custody.create_key(ASKED, author=once(caller="key:b", digest="d2"))
    assert await count_keys(room) == 3


async def test_after_a_day_a_request_is_a_new_one(room: Room) -> None:
    """And what was remembered of it is gone."""
    await room.create_key()
    await room.custody.create_key(ASKED, author=once("old"))
    room.clock.now_ms += conditions.REMEMBERED_MS - 1
    with pytest.raises(conditions.AlreadySettled):
        await room.custody.create_key(ASKED, author=once("old"))
    room.clock.now_ms += 1
    await room.custody.create_key(ASKED, author=once("new"))
    async with engine.reading(room.engine) as conn:
        kept = (await conn.execute(sa.select(schema.settled_requests.c.key))).scalars().all()
    assert kept == ["new"]
    await room.custody.create_key(ASKED, author=once("old", digest="d3"))


async def test_what_did_something_else_instead_is_not_settled(room: Room) -> None:
    """Such as asking for an approval: once it is given, the same request does what it says."""
    key = (await room.create_key()).key
    await room.custody.freeze_key(key.id, author=once())
    made = await room.custody.create_key(ASKED, author=once())
    assert made.key.id != key.id


async def test_a_change_that_fails_is_not_settled(room: Room) -> None:
    nowhere = msgspec.structs.replace(ASKED, partner="nobody")
    await room.create_key()
    with pytest.raises(LookupError):
        await room.custody.create_key(nowhere, author=once())
    await room.custody.create_key(ASKED, author=once())
