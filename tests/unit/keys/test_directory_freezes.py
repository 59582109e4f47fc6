"""What a node serves of freezes, and what it tells of each revision that it has applied."""

import asyncio

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from keys import directory, freezes
from keys.changes import Author
from storage import engine, schema
from tests.support.custody import Eventually, Room
from tests.support.following import running

OFFICER = Author("officer")
NEVER_MS = 3_600_000


class Node:
    """A directory with its freezes, and everything that it told."""

    def __init__(
        self, room: Room, *, poll_ms: int = NEVER_MS, companion: directory.Companion | None = None
    ) -> None:
        self.frozen = freezes.ServedFreezes()
        self.told: list[directory.Applied] = []
        self.directory = directory.Directory(
            room.engine,
            room.data_keys,
            room.wakeup,
            room.clock,
            poll_ms=poll_ms,
            companions=() if companion is None else (companion,),
            frozen=self.frozen,
            notice=self.told.append,
        )


class Follower:
    """A companion that takes as long as it is let, or fails."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.free.set()
        self.broken = False
        self.begun = 0

    async def refresh(self) -> None:
        self.begun += 1
        await self.free.wait()
        if self.broken:
            raise engine.StorageUnavailable("broken")


@pytest.fixture
def switch(room: Room) -> freezes.Freezes:
    return freezes.Freezes(room.engine, room.changes)


async def test_a_node_that_starts_refuses_what_is_frozen(room: Room, switch: freezes.Freezes) -> None:
    """From its first request on."""
    await switch.freeze_environment("live", author=OFFICER)
    await switch.freeze_route("orders", author=OFFICER)
    node = Node(room)
    await node.directory.load()
    assert node.frozen.active
    assert node.frozen.find("positions", "live") == "environment"
    assert node.frozen.find("orders", "paper") == "route"
    assert node.frozen.find("positions", "paper") is None
    assert node.frozen.find("whoami", None) is None


async def test_a_freeze_and_its_end_follow_the_wake_up(
    room: Room, switch: freezes.Freezes, eventually: Eventually
) -> None:
    """With polling as good as off."""
    node = Node(room)
    await node.directory.load()
    async with running(node.directory):
        await switch.freeze_route("orders", author=OFFICER)
        await eventually(lambda: node.frozen.find("orders", "paper") == "route")
        await switch.unfreeze_route("orders", author=OFFICER)
        await eventually(lambda: not node.frozen.active)


async def test_a_freeze_is_learned_by_polling_alone(
    room: Room, switch: freezes.Freezes, eventually: Eventually
) -> None:
    """When the wake-up is broken."""
    room.wakeup.broken = True
    node = Node(room, poll_ms=5)
    await node.directory.load()
    async with running(node.directory):
        await switch.freeze_environment("paper", author=OFFICER)
        await eventually(lambda: node.frozen.find("orders", "paper") == "environment")


async def test_a_freeze_waits_for_nobody_who_follows(
    room: Room, switch: freezes.Freezes, eventually: Eventually
) -> None:
    """A key ring that hangs on its KMS holds up no kill switch, and the node says that it lacks something."""
    follower = Follower()
    node = Node(room, companion=follower)
    await node.directory.load()
    follower.free.clear()
    async with running(node.directory):
        await switch.freeze_route("one", author=OFFICER)
        await eventually(lambda: node.frozen.find("one", None) == "route")
        await switch.freeze_route("two", author=OFFICER)
        await eventually(lambda: node.frozen.find("two", None) == "route")
        assert node.told[-1].incomplete == 1
        follower.free.set()
        await eventually(lambda: node.told[-1].incomplete == 0)
    assert node.told[-1].revision == node.directory.revision


async def test_who_followed_an_earlier_revision_is_still_behind(
    room: Room, switch: freezes.Freezes, eventually: Eventually
) -> None:
    """It has to look once more before the node calls itself whole."""
    follower = Follower()
    node = Node(room, companion=follower)
    await node.directory.load()
    follower.free.clear()
    async with running(node.directory):
        await switch.freeze_route("one", author=OFFICER)
        await eventually(lambda: follower.begun == 2)
        await switch.freeze_route("two", author=OFFICER)
        await eventually(lambda: node.frozen.find("two", None) == "route")
        first, follower.free = follower.free, asyncio.Event()
        first.set()
        await eventually(lambda: follower.begun == 3)
        assert node.told[-1].incomplete == 1
        follower.free.set()
        await eventually(lambda: node.told[-1].incomplete == 0)


async def test_a_follower_that_fails_leaves_the_node_incomplete(
    room: Room, switch: freezes.Freezes, eventually: Eventually
) -> None:
    """What it serves of the revision it does serve."""
    follower = Follower()
    node = Node(room, companion=follower)
    await node.directory.load()
    follower.broken = True
    async with running(node.directory):
        frozen = await switch.freeze_route("one", author=OFFICER)
        await eventually(lambda: len(node.told) >= 3)
        assert node.told[-1][0] == frozen.revision
        assert node.told[-1].incomplete == 1


async def test_each_revision_is_told_with_when_it_was_committed(room: Room, switch: freezes.Freezes) -> None:
    """Of what it finds at its start a node knows no delay; nor of what it already has does it tell anew."""
    await switch.freeze_route("one", author=OFFICER)
    node = Node(room)
    await node.directory.load()
    assert node.told == [directory.Applied(node.directory.revision, None, 0)]
    await node.directory.refresh()
    assert len(node.told) == 1
    await switch.freeze_route("two", author=OFFICER)
    await node.directory.refresh()
    async with engine.reading(room.engine) as conn:
        stored = (await conn.execute(sa.select(schema.revision))).one()
    assert node.told[1:] == [directory.Applied(stored.value, stored.changed_at, 0)]
    assert stored.changed_at is not None


async def test_a_restored_store_brings_its_own_freezes(room: Room, switch: freezes.Freezes) -> None:
    """And its delay says nothing."""
    node = Node(room)
    await node.directory.load()
    await switch.freeze_route("one", author=OFFICER)
    await node.directory.refresh()
    assert node.told[-1].committed_at is not None
    await _go_back(room.engine, node.directory.revision - 1)
    await node.directory.refresh()
    assert not node.frozen.active
    assert node.told[-1] == node.told[0]


async def _go_back(engine_: AsyncEngine, revision: int) -> None:
    async with engine.transaction(engine_) as conn:
        await conn.execute(sa.delete(schema.freezes))
        await conn.execute(sa.update(schema.revision).values(value=revision))
