"""A directory that follows the store: changes within a second, through outages, without a restart."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from keys import directory
from keys.changes import Author
from storage import engine, migrate, schema
from tests.support.custody import START_MS, Eventually, Room, build_room
from tests.support.following import loaded, running, states
from tests.support.servers import PostgresServer

NEVER_MS = 3_600_000


async def test_changes_arrive_by_revision(room: Room) -> None:
    """A refresh brings what is new, and leaves every other key the very object it was."""
    one, other = [(await room.create_key()).key.id for _ in range(2)]
    followed = await loaded(room)
    untouched = followed.find(other)
    await room.custody.freeze_key(one, author=Author("officer"))
    third = (await room.create_key(environment="live")).key.id
    await followed.refresh()
    changed = followed.find(one)
    assert changed is not None
    assert changed.frozen
    assert followed.find(third) is not None
    assert followed.find(other) is untouched
    assert changed.revision < followed.revision
    assert len(followed) == 3


async def test_age_counts_from_the_last_good_check(room: Room, dead_engine: AsyncEngine) -> None:
    """While the store is away the last state is served and its age grows; the next good check ends that."""
    key_id = (await room.create_key()).key.id
    followed = room.directory()
    assert followed.age_ms(room.clock()) == START_MS
    await followed.load()
    assert followed.age_ms(room.clock()) == 0
    followed._engine = dead_engine
    room.clock.now_ms += 40_000
    with pytest.raises(engine.StorageUnavailable):
        await followed.refresh()
    assert followed.age_ms(room.clock()) == 40_000
    assert followed.find(key_id) is not None
    followed._engine = room.engine
    await followed.refresh()
    assert followed.age_ms(room.clock()) == 0


async def test_age_is_never_negative(room: Room) -> None:
    """A clock that was set back makes nothing younger than new."""
    followed = await loaded(room)
    assert followed.age_ms(START_MS - 5) == 0


async def test_a_restored_store_is_read_anew(room: Room) -> None:
    """When the revision goes back, keys that the restored store does not have are served no longer."""
    kept, lost = [(await room.create_key()).key.id for _ in range(2)]
    followed = await loaded(room)
    async with engine.transaction(room.engine) as conn:
        for table, column in ((schema.secret_versions, "secret_id"), (schema.api_keys, "id")):
            await conn.execute(sa.delete(table).where(table.c[column] == lost))
        await conn.execute(sa.update(schema.revision).values(value=followed.revision - 1))
    await followed.refresh()
    assert followed.find(lost) is None
    assert followed.find(kept) is not None
    assert len(followed) == 1


async def test_the_wake_up_hastens(room: Room, eventually: Eventually) -> None:
    """With polling as good as off, an announced change arrives."""
    followed = await loaded(room, poll_ms=NEVER_MS)
    async with running(followed):
        made = await room.create_key()
        await eventually(lambda: followed.find(made.key.id) is not None)
    assert followed.revision == room.wakeup.announced[-1]


async def test_an_old_announcement_wakes_nobody(room: Room, eventually: Eventually) -> None:
    """A revision that has been seen is no reason to ask the store."""
    followed = await loaded(room, poll_ms=NEVER_MS)
    await room.wakeup.announce(followed.revision)
    listening = asyncio.create_task(followed._wake())
    await eventually(room.wakeup._waiting.empty)
    listening.cancel()
    assert not followed._woken.is_set()


async def test_polling_goes_on_when_the_wake_up_is_broken(room: Room, eventually: Eventually) -> None:
    """A revocation committed on another node arrives although no signal does."""
    key_id = (await room.create_key()).key.id
    room.wakeup.broken = True
    followed = await loaded(room, poll_ms=5)
    async with running(followed):
        await room.another_node().custody.revoke_key(key_id, author=Author("officer"))
        await eventually(lambda: states(followed, key_id) == ["revoked"])


async def test_the_default_poll_is_well_within_a_second(room: Room) -> None:
    """Every node notices a change within a second, with no signal at all."""
    assert directory.Directory(room.engine, room.data_keys, room.wakeup, room.clock)._poll_s <= 0.25


async def test_following_survives_an_outage(
    room: Room, dead_engine: AsyncEngine, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    """Through failing polls the last state is served; when the store is back, so are its changes."""
    key_id = (await room.create_key()).key.id
    followed = await loaded(room, poll_ms=5)
    followed._engine = dead_engine
    with caplog.at_level(logging.INFO, "portreeve.keys"):
        async with running(followed):
            await eventually(lambda: "cannot be read" in caplog.text)
            await room.custody.freeze_key(key_id, author=Author("officer"))
            assert followed.find(key_id) is not None
            followed._engine = room.engine
            await eventually(lambda: (key := followed.find(key_id)) is not None and key.frozen)
    assert caplog.text.count("StorageUnavailable") == 1
    assert "over: the key store cannot be read" in caplog.text


async def test_a_store_that_hangs_is_an_outage(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that accepts and never answers is given up on, by the name of an outage."""

    @asynccontextmanager
    async def hang(_engine: AsyncEngine) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield

    followed = await loaded(room)
    monkeypatch.setattr(directory, "_LONGEST_CHECK_S", 0.01)
    monkeypatch.setattr(engine, "reading", hang)
    with pytest.raises(engine.StorageUnavailable, match="in time"):
        await followed.refresh()


async def test_a_revocation_arrives_while_the_kms_is_away(room: Room) -> None:
    """A node that cannot open a new secret still learns what became of the old ones."""
    old = (await room.create_key()).key.id
    node = room.another_node()
    followed = await loaded(node)
    new = (await room.create_key(environment="live")).key.id
    room.kms.down = True
    await room.custody.revoke_key(old, author=Author("officer"))
    await followed.refresh()
    assert states(followed, old) == ["revoked"]
    assert states(followed, new) == []
    assert followed.incomplete == {new}


async def test_a_waiting_secret_is_served_when_the_kms_is_back(
    room: Room, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be opened is opened as soon as it can be, without any further change."""
    monkeypatch.setattr(directory, "_RETRY_S", 0.005)
    followed = await loaded(room.another_node(), poll_ms=5)
    new = (await room.create_key(environment="live")).key.id
    room.kms.down = True
    async with running(followed):
        await eventually(lambda: followed.incomplete == {new})
        calls = room.kms.calls
        await eventually(lambda: room.kms.calls > calls)
        room.kms.down = False
        await eventually(lambda: states(followed, new) == ["active"])
    assert not followed.incomplete


class Following:
    """A companion that counts, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.refreshed = 0
        self.failures = failures

    async def refresh(self) -> None:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("not yet")
        self.refreshed += 1


async def test_companions_follow_changes(
    room: Room, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else follows the revision is refreshed at load and after changes, again when it failed."""
    monkeypatch.setattr(directory, "_RETRY_S", 0.005)
    companion = Following()
    followed = room.directory(poll_ms=5, companions=[companion])
    await followed.load()
    assert companion.refreshed == 1
    companion.failures = 2
    async with running(followed):
        key_id = (await room.create_key()).key.id
        # The partner and the key are two changes; the companion may have followed the first one alone.
        await eventually(lambda: companion.refreshed >= 2 and followed.find(key_id) is not None)


async def test_a_version_that_comes_into_use_is_written_at_once(room: Room, eventually: Eventually) -> None:
    """However long the interval is: whether a version is in use must not wait for it."""
    key_id = (await room.create_key()).key.id
    followed = directory.Directory(
        room.engine, room.data_keys, room.wakeup, room.clock, flush_usage_ms=3_600_000
    )
    await followed.load()
    async with running(followed):
        followed.used(key_id, 1, "10.0.0.1", START_MS)
        await eventually(lambda: bool(followed._usage._written))
    assert (await room.custody.get_key(key_id)).versions[0].last_used_at == START_MS


async def test_usage_is_written_while_following(room: Room, eventually: Eventually) -> None:
    """What is noted on the request path is in the store some time later."""
    key_id = (await room.create_key()).key.id
    followed = directory.Directory(room.engine, room.data_keys, room.wakeup, room.clock, flush_usage_ms=5)
    await followed.load()
    followed.used(key_id, 1, "10.0.0.1", START_MS + 1)
    async with running(followed):
        await eventually(lambda: bool(followed._usage._written))
    followed.used(key_id, 1, "10.0.0.2", START_MS + 2)
    await followed.flush_usage()
    version = (await room.custody.get_key(key_id)).versions[0]
    assert (version.last_used_source, version.use_count) == ("10.0.0.2", 2)


async def test_a_real_outage_is_survived(
    new_postgres_server: Callable[[], PostgresServer], eventually: Eventually
) -> None:
    """A PostgreSQL that stops and starts again: served meanwhile, followed afterwards, without a restart."""
    server = new_postgres_server()
    opened = engine.open_engine(server.url())
    await migrate.upgrade(opened)
    room = build_room(opened)
    await room.custody.create_partner("acme", "Acme", "standard", author=Author("operator"))
    followed = await loaded(room, poll_ms=20)
    key_id = (await room.create_key()).key.id
    async with running(followed):
        await eventually(lambda: followed.find(key_id) is not None)
        server.stop()
        room.clock.now_ms += 10_000
        with pytest.raises(engine.StorageUnavailable):
            await followed.refresh()
        assert followed.find(key_id) is not None
        assert followed.age_ms(room.clock()) == 10_000
        server.start()
        await room.custody.revoke_key(key_id, author=Author("officer"))
        await eventually(lambda: states(followed, key_id) == ["revoked"])
        assert followed.age_ms(room.clock()) == 0
    await opened.dispose()
