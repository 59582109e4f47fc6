import asyncio

import pytest
import sqlalchemy as sa

from keys import kms
from keys.data_keys import UnknownDataKey
from storage import engine, schema
from tests.support.custody import Room


async def test_the_first_data_key_is_made_when_needed(empty_room: Room) -> None:
    """An environment without a data key gets epoch one, wrapped, with an audit event."""
    made = await empty_room.data_keys.get_current("paper")
    async with engine.reading(empty_room.engine) as conn:
        row = (await conn.execute(sa.select(schema.data_keys))).one()
        wrapping = (await conn.execute(sa.select(schema.data_key_wrappings))).one()
        event = (await conn.execute(sa.select(schema.audit_events))).one()
    assert (row.id, row.environment, row.epoch) == (made.id, "paper", 1)
    assert (wrapping.kms_backend, wrapping.kms_key) == ("fake", "fake-key")
    assert made.key.reveal() not in wrapping.wrapped
    assert (event.action, event.subject, event.environment) == ("data_key.created", made.id, "paper")


async def test_the_same_data_key_is_current_afterwards(empty_room: Room) -> None:
    """A second question makes no second key, and does not ask the KMS again."""
    made = await empty_room.data_keys.get_current("paper")
    calls = empty_room.kms.calls
    assert (await empty_room.data_keys.get_current("paper")).id == made.id
    assert (await empty_room.data_keys.get(made.id)).reveal() == made.key.reveal()
    assert empty_room.kms.calls == calls


async def test_environments_have_data_keys_of_their_own(empty_room: Room) -> None:
    """Paper, live and our own signing keys are sealed under different keys."""
    made = [await empty_room.data_keys.get_current(custody) for custody in ("paper", "live", "service")]
    assert len({each.id for each in made}) == 3
    assert len({each.key.reveal() for each in made}) == 3


async def test_the_latest_epoch_is_current(empty_room: Room) -> None:
    """New secrets go under the newest data key; old ones stay readable under theirs."""
    first = await empty_room.data_keys.get_current("paper")
    context = {"purpose": "portreeve/data-key/1", "id": "dk_2", "environment": "paper", "epoch": "2"}
    made = await empty_room.kms.generate_data_key(context)
    async with engine.transaction(empty_room.engine) as conn:
        await conn.execute(sa.update(schema.data_keys).values(state="retiring"))
        await conn.execute(
            sa.insert(schema.data_keys).values(
                id="dk_2", environment="paper", epoch=2, state="active", created_at=0
            )
        )
        await conn.execute(
            sa.insert(schema.data_key_wrappings).values(
                data_key_id="dk_2",
                kms_backend="fake",
                kms_key="fake-key",
                wrapped=made.wrapped,
                created_at=0,
            )
        )
    current = await empty_room.data_keys.get_current("paper")
    assert (current.id, current.key.reveal()) == ("dk_2", made.plaintext.reveal())
    assert (await empty_room.data_keys.get(first.id)).reveal() == first.key.reveal()


async def test_nodes_that_race_agree_on_one(empty_room: Room) -> None:
    """Of several nodes that make the first data key at once, all end with the same one."""
    nodes = [empty_room, *(empty_room.another_node() for _ in range(3))]
    made = await asyncio.gather(*(node.data_keys.get_current("live") for node in nodes))
    assert len({each.id for each in made}) == 1
    assert len({each.key.reveal() for each in made}) == 1
    async with engine.reading(empty_room.engine) as conn:
        assert len((await conn.execute(sa.select(schema.data_keys.c.id))).all()) == 1


async def test_waiters_share_one_unwrapping(empty_room: Room) -> None:
    """However many ask at once for a key that is not open, the KMS is asked once."""
    made = await empty_room.data_keys.get_current("paper")
    node = empty_room.another_node()
    calls = node.kms.calls
    await asyncio.gather(*(node.data_keys.get(made.id) for _ in range(5)))
    assert node.kms.calls == calls + 1


async def test_an_open_key_outlives_the_kms(empty_room: Room) -> None:
    """A node goes on with what it has opened; what it has not, it cannot have."""
    made = await empty_room.data_keys.get_current("paper")
    stranger = empty_room.another_node()
    empty_room.kms.down = True
    assert (await empty_room.data_keys.get(made.id)).reveal() == made.key.reveal()
    assert stranger.data_keys.find_open(made.id) is None
    with pytest.raises(kms.KmsUnavailable):
        await stranger.data_keys.get(made.id)


async def test_an_unknown_data_key_is_refused(empty_room: Room) -> None:
    """A ciphertext whose data key is gone names it."""
    with pytest.raises(UnknownDataKey, match="dk_gone"):
        await empty_room.data_keys.get("dk_gone")


@pytest.mark.parametrize("column", ["environment", "epoch", "wrapped"])
async def test_a_row_that_was_tampered_with_does_not_open(empty_room: Room, column: str) -> None:
    """The KMS binds a data key to its id, environment and epoch: a row changed in the store opens nothing."""
    made = await empty_room.data_keys.get_current("paper")
    changed = {"environment": "live", "epoch": 9, "wrapped": b"another"}
    async with engine.transaction(empty_room.engine) as conn:
        table = schema.data_key_wrappings if column == "wrapped" else schema.data_keys
        await conn.execute(sa.update(table).values({column: changed[column]}))
    with pytest.raises(kms.KmsRefused, match="fake key fake-key does not open it"):
        await empty_room.another_node().data_keys.get(made.id)
