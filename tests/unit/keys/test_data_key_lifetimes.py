"""How long an opened data key is trusted, and what a node does while its KMS is away or says no."""

import asyncio

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from keys import data_key_rows, kms
from keys.changes import Author
from keys.data_key_rows import StoredDataKey
from keys.data_keys import Lifetimes
from keys.wrappers import Wrappers
from storage import engine as storage_engine
from storage import schema
from tests.support.custody import Eventually, FakeClock, FakeKms, Room, build_room

SOFT, HARD = 1_000, 10_000


@pytest.fixture
async def node(engine: AsyncEngine) -> Room:
    made = build_room(engine, lifetimes=Lifetimes(SOFT, HARD))
    await made.custody.create_partner("acme", "Acme", "standard", author=Author("operator"))
    return made


async def test_within_the_soft_lifetime_nobody_asks(node: Room) -> None:
    """However much is sealed and opened, the KMS hears of it once."""
    made = await node.data_keys.get_current("paper")
    calls = node.kms.calls
    node.clock.now_ms += SOFT - 1
    await node.data_keys.recheck()
    await node.create_key()
    assert (await node.data_keys.get_current("paper")).id == made.id
    assert node.kms.calls == calls


async def test_past_the_soft_lifetime_the_kms_is_asked_again(node: Room) -> None:
    """One call a data key, and it is good for another lifetime."""
    await node.data_keys.get_current("paper")
    calls = node.kms.calls
    node.clock.now_ms += SOFT
    await node.data_keys.recheck()
    await node.data_keys.recheck()
    assert node.kms.calls == calls + 1
    assert not node.data_keys.degraded


@pytest.mark.parametrize(("away", "failure"), [("down", kms.KmsUnavailable), ("refusing", kms.KmsRefused)])
async def test_a_kms_that_is_away_degrades_and_takes_nothing(
    node: Room, away: str, failure: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    """What is open stays open and is served; new secrets are refused, by name; once it is back all is well."""
    made = await node.data_keys.get_current("paper")
    node.clock.now_ms += SOFT
    setattr(node.kms, away, True)
    await node.data_keys.recheck()
    await node.data_keys.recheck()
    assert node.data_keys.degraded
    assert node.data_keys.failures == 2
    assert len([line for line in caplog.messages if made.id in line]) == 1, "told once, not with every try"
    assert (await node.data_keys.get(made.id)).reveal() == made.key.reveal()
    assert node.data_keys.find_open(made.id) is not None
    with pytest.raises(failure, match=made.id):
        await node.create_key()
    setattr(node.kms, away, False)
    await node.data_keys.recheck()
    assert not node.data_keys.degraded
    await node.create_key()


async def test_past_the_hard_lifetime_the_key_is_dropped(node: Room) -> None:
    """Who could not ask for so long does not open anything more; the secrets that are open are served on."""
    created = await node.create_key()
    directory = node.directory()
    await directory.load()
    data_key_id = (await node.data_keys.get_current("paper")).id
    node.kms.down = True
    node.clock.now_ms += HARD
    await node.data_keys.recheck()
    assert node.data_keys.find_open(data_key_id) is None
    with pytest.raises(kms.KmsUnavailable):
        await node.data_keys.get(data_key_id)
    # A change of the key, even, takes nothing from it.
    await node.custody.freeze_key(created.key.id, author=Author("operator"))
    await node.custody.unfreeze_key(created.key.id, author=Author("operator"))
    await directory.refresh()
    served = directory.find(created.key.id)
    assert served is not None
    assert served.verifiers
    assert not directory.incomplete


async def test_the_hard_lifetime_needs_no_store(node: Room, dead_engine: AsyncEngine) -> None:
    """A node that can ask neither store nor KMS forgets just the same."""
    data_key_id = (await node.data_keys.get_current("paper")).id
    node.data_keys._engine = dead_engine
    node.clock.now_ms += HARD
    with pytest.raises(storage_engine.StorageUnavailable):
        await node.data_keys.recheck()
    assert node.data_keys.find_open(data_key_id) is None


async def test_a_destroyed_data_key_is_forgotten(node: Room) -> None:
    """Nothing is sealed under it: memory need not keep it, and nobody is alarmed."""
    data_key_id = (await node.data_keys.get_current("paper")).id
    async with storage_engine.transaction(node.engine) as conn:
        await conn.execute(sa.delete(schema.data_key_wrappings))
        await conn.execute(sa.update(schema.data_keys).values(state="destroyed"))
    node.clock.now_ms += SOFT
    await node.data_keys.recheck()
    assert node.data_keys.find_open(data_key_id) is None
    assert not node.data_keys.degraded


async def test_another_key_than_is_served_is_told(
    engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrapping that somebody exchanged for another one is noticed, and the served key stays."""
    backend = FakeKms()
    node = build_room(engine, backend=backend, lifetimes=Lifetimes(SOFT, 0))
    made = await node.data_keys.get_current("paper")
    async with storage_engine.reading(engine) as conn:
        stored = (await conn.execute(sa.select(schema.data_keys))).one()
    context = {"purpose": "portreeve/data-key/1", "id": stored.id, "environment": "paper", "epoch": "1"}
    other = await backend.generate_data_key(context)
    async with storage_engine.transaction(engine) as conn:
        await conn.execute(sa.update(schema.data_key_wrappings).values(wrapped=other.wrapped))
    node.clock.now_ms += SOFT
    await node.data_keys.recheck()
    assert node.data_keys.degraded
    assert "another key than is served" in caplog.text
    assert (await node.data_keys.get(made.id)).reveal() == made.key.reveal()


async def test_who_waits_for_one_key_does_not_hold_up_another(engine: AsyncEngine) -> None:
    """A KMS key that hangs delays its own data keys only, and a waiter who leaves takes nothing along."""
    slow, quick = FakeKms("slow"), FakeKms("quick")
    ours = build_room(engine, wrappers=Wrappers(slow))
    paper = await ours.data_keys.get_current("paper")
    theirs = build_room(engine, wrappers=Wrappers(quick))
    live = await theirs.data_keys.get_current("live")
    both = build_room(engine, wrappers=Wrappers(slow, None, (quick,)))
    slow.held.clear()
    calls = slow.calls
    stored = await find(both, paper.id)
    leaving = asyncio.create_task(both.data_keys._open(stored))
    waiting = asyncio.create_task(both.data_keys._open(stored))
    assert (await both.data_keys.get(live.id)).reveal() == live.key.reveal()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert not waiting.done()
    slow.held.set()
    assert (await waiting).reveal() == paper.key.reveal()
    assert slow.calls == calls + 1


async def test_waiters_share_a_failure_too(engine: AsyncEngine) -> None:
    """A KMS that is down is not asked by each waiter in turn."""
    node = build_room(engine)
    made = await node.data_keys.get_current("paper")
    other = node.another_node()
    node.kms.down, calls = True, node.kms.calls
    stored = await find(other, made.id)
    outcomes = await asyncio.gather(
        *(other.data_keys._open(stored) for _ in range(20)), return_exceptions=True
    )
    assert all(isinstance(outcome, kms.KmsUnavailable) for outcome in outcomes)
    assert node.kms.calls == calls + 1


async def find(room: Room, data_key_id: str) -> StoredDataKey:
    async with storage_engine.reading(room.engine) as conn:
        found = await data_key_rows.find(conn, data_key_id)
    assert found is not None
    return found


async def test_the_watch_keeps_to_the_lifetimes(engine: AsyncEngine, eventually: Eventually) -> None:
    """In the background, while nobody asks for anything."""
    clock = FakeClock()
    node = build_room(engine, clock=clock, lifetimes=Lifetimes(20, 0))
    await node.data_keys.get_current("paper")
    watch = asyncio.create_task(node.data_keys.watch())
    clock.now_ms += 20
    node.kms.down = True
    await eventually(lambda: node.data_keys.degraded)
    node.kms.down = False
    await eventually(lambda: not node.data_keys.degraded)
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)


async def test_without_lifetimes_there_is_nothing_to_watch(engine: AsyncEngine) -> None:
    """0 is for ever."""
    node = build_room(engine)
    await node.data_keys.get_current("paper")
    await node.data_keys.watch()
    node.clock.now_ms += 10**12
    await node.data_keys.recheck()
    assert node.kms.calls == 2
