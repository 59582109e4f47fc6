"""Rotations that meet others, flushes, a KMS that is away, or a data key that goes."""

import asyncio
import os
from typing import Any

import pytest
import sqlalchemy as sa

from keys import data_key_rows, kms, rotations
from keys.api_key_secrets import ApiKeySecrets
from keys.records import CreatedKey
from keys.rotations import Wish
from keys.schedules import Schedules
from storage import engine, schema
from tests.support.custody import START_MS, Room
from tests.support.rotated import OFFICER, events, rows, states, used


@pytest.fixture
async def made(room: Room) -> CreatedKey:
    return await room.create_key()


async def test_without_a_kms_a_rotation_changes_nothing(room: Room, made: CreatedKey) -> None:
    """A new secret is refused whole, and the old one goes on; the KMS is asked before anything is locked."""
    node = room.another_node()
    room.kms.down = True
    with pytest.raises(kms.KmsUnavailable):
        await node.rotations.rotate(made.key.id, author=OFFICER)
    assert await states(room, made.key.id) == ["active"]
    assert "secret.rotated" not in [event["action"] for event in await events(room)]


async def test_rotations_at_once_end_in_one_order(room: Room, made: CreatedKey) -> None:
    """Of several on several nodes one goes through; the others find another active version than they saw."""
    nodes = [room.another_node() for _ in range(4)]
    outcomes = await asyncio.gather(
        *(node.rotations.rotate(made.key.id, author=OFFICER) for node in nodes), return_exceptions=True
    )
    refused = [each for each in outcomes if isinstance(each, BaseException)]
    assert {type(each) for each in refused} <= {rotations.ChangedMeanwhile}
    found = await states(room, made.key.id)
    assert found.count("active") == 1
    assert len(found) == 1 + len(outcomes) - len(refused)
    assert len(refused) < len(outcomes)


async def test_whoever_saw_another_version_is_refused(room: Room, made: CreatedKey) -> None:
    """A repeated request does not rotate twice."""
    await room.rotations.rotate(made.key.id, Wish(expected=1), author=OFFICER)
    with pytest.raises(rotations.ChangedMeanwhile):
        await room.rotations.rotate(made.key.id, Wish(expected=1), author=OFFICER)
    assert await states(room, made.key.id) == ["retiring", "active"]


async def test_a_rotation_under_flushes_neither_waits_nor_loses_uses(room: Room, made: CreatedKey) -> None:
    """Changes and last-used times take rows in one order; what a change writes leaves the counts alone."""

    async def use(times: int) -> None:
        for number in range(times):
            await used(room, made.key.id, 1, START_MS + number)

    async def rotate(times: int) -> None:
        for _ in range(times):
            await room.rotations.rotate(made.key.id, Wish(even_if_used=True), author=OFFICER)

    async with asyncio.timeout(30):
        await asyncio.gather(use(10), use(10), rotate(5))
    assert (await rows(room, made.key.id))[0]["use_count"] == 20


async def test_nothing_is_locked_while_a_version_is_made(room: Room, made: CreatedKey) -> None:
    """Whoever makes it may wait for the KMS: meanwhile the key can be frozen, by another node or by this one."""

    class Slow(ApiKeySecrets):
        async def draft(self, secret: Any, offer: Any) -> Any:  # noqa: ANN401  as it came, so it goes
            await room.another_node().custody.freeze_key(secret.id, author=OFFICER)
            return await super().draft(secret, offer)

    slow = Slow(room.engine, room.data_keys, os.urandom)
    late = rotations.Rotations(room.engine, room.changes, room.clock, {"api-key": slow}, Schedules())
    await late.rotate(made.key.id, author=OFFICER)
    assert await states(room, made.key.id) == ["retiring", "active"]
    assert (await room.custody.get_key(made.key.id)).frozen_at is not None


async def test_material_under_a_destroyed_data_key_is_not_stored(room: Room, made: CreatedKey) -> None:
    """A data key that went between sealing and storing takes the rotation with it, not the secret."""
    kind = ApiKeySecrets(room.engine, room.data_keys, os.urandom)

    class Slow(ApiKeySecrets):
        async def draft(self, secret: Any, offer: Any) -> Any:  # noqa: ANN401  as it came, so it goes
            draft = await kind.draft(secret, offer)
            async with engine.transaction(room.engine) as conn:
                await conn.execute(sa.update(schema.data_keys).values(state="destroyed"))
            return draft

    slow = Slow(room.engine, room.data_keys, os.urandom)
    late = rotations.Rotations(room.engine, room.changes, room.clock, {"api-key": slow}, Schedules())
    with pytest.raises(data_key_rows.DataKeyDestroyed):
        await late.rotate(made.key.id, author=OFFICER)
    assert await states(room, made.key.id) == ["active"]
