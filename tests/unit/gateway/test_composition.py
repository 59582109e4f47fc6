"""What settings turn into: the same store for commands and nodes, over every backend."""

import asyncio
import urllib.parse
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_bytes

import msgspec
import pytest
import sqlalchemy as sa

from auth.admission.memory import MemoryAdmission
from auth.admission.redis import RedisAdmission
from gateway import composition, initialise, settings
from gateway.demo import example
from gateway.ledger import verify
from keys import data_keys, directory, ring
from keys.changes import Author
from keys.kms import master_key
from keys.records import KeyRequest
from storage import engine, migrate, schema

NOW_MS = 1_763_596_800_123
WANTED = KeyRequest(partner="acme", environment="paper", algorithm="hmac-sha256", roles=("trader",))


def clock() -> int:
    return NOW_MS


@pytest.fixture
def configured(tmp_path: Path) -> settings.Settings:
    return settings.load(example.render(tmp_path, example.Ports(8080, 1, 2)))


async def prepare(configured: settings.Settings) -> list[str]:
    return await initialise.initialise(configured, clock, token_bytes, author=Author("test"))


@asynccontextmanager
async def serving(configured: settings.Settings) -> AsyncIterator[composition.Node]:
    async with composition.opened(configured, clock) as node:
        tasks = [asyncio.create_task(work) for work in node.background()]
        try:
            yield node
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  what is waited for happens in a store
            await asyncio.sleep(0.01)


async def test_a_store_that_nobody_prepared_is_refused(configured: settings.Settings) -> None:
    """Opening makes neither schema nor master key."""
    with pytest.raises(migrate.SchemaMissing):
        async with composition.opened_store(configured, clock):
            pass
    assert not composition.master_key_file(configured).exists()


async def test_a_prepared_store_without_its_master_key_is_refused(configured: settings.Settings) -> None:
    """Neither a command nor a node goes on with a new one."""
    await prepare(configured)
    composition.master_key_file(configured).unlink()
    with pytest.raises(master_key.MasterKeyMissing):
        async with composition.opened(configured, clock):
            pass
    with pytest.raises(initialise.MasterKeyLost):
        await prepare(configured)


async def test_preparing_again_keeps_every_key(configured: settings.Settings) -> None:
    """The signing key and the data keys are those of the first time."""
    await prepare(configured)
    async with composition.opened_store(configured, clock) as store:
        await store.ring.refresh()
        first = store.ring.get_signer().kid, (await store.data_keys.get_current("live")).id
    await prepare(configured)
    async with composition.opened_store(configured, clock) as store:
        await store.ring.refresh()
        assert (store.ring.get_signer().kid, (await store.data_keys.get_current("live")).id) == first


async def test_a_node_learns_of_what_a_command_changes(configured: settings.Settings) -> None:
    """Both act on one store, each in a way of its own."""
    await prepare(configured)
    async with serving(configured) as node, composition.opened_store(configured, clock) as store:
        await store.custody.create_partner("acme", "Acme", "standard", author=Author("test"))
        made = await store.custody.create_key(WANTED, author=Author("test"))
        await eventually(lambda: node.directory.find(made.key.id) is not None)
        await store.custody.revoke_key(made.key.id, author=Author("test"))
        await eventually(lambda: getattr(node.directory.find(made.key.id), "revoked", False))
        assert node.ring.get_signer().kid


async def test_last_use_is_written_when_a_node_closes(configured: settings.Settings) -> None:
    """What was only noted in memory is not lost with the process."""
    await prepare(configured)
    async with composition.opened_store(configured, clock) as store:
        await store.custody.create_partner("acme", "Acme", "standard", author=Author("test"))
        made = await store.custody.create_key(WANTED, author=Author("test"))
        async with composition.opened(configured, clock) as node:
            node.directory.used(made.key.id, 1, "192.0.2.1", NOW_MS)
        [version] = (await store.custody.get_key(made.key.id)).versions
        assert (version.use_count, version.last_used_source) == (1, "192.0.2.1")


async def test_a_store_that_went_away_does_not_spoil_a_clean_stop(
    configured: settings.Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Last-used times that can't be written are a line in the log."""
    await prepare(configured)

    async def fail(_: object) -> int:
        raise engine.StorageUnavailable("locked")

    async with composition.opened(configured, clock):
        monkeypatch.setattr(directory.Directory, "flush_usage", fail)
    assert "last-used times are lost: locked" in caplog.text


async def test_without_redis_nonces_are_kept_in_the_process(configured: settings.Settings) -> None:
    """The embedded default."""
    await prepare(configured)
    async with composition.opened(configured, clock) as node:
        assert isinstance(node.admission, MemoryAdmission)


async def test_with_redis_nonces_and_wake_ups_are_shared(
    configured: settings.Settings, redis_url: str
) -> None:
    """A change is announced there: a node that would hardly ever poll hears of it."""
    shared = msgspec.structs.replace(
        configured,
        redis=settings.RedisSettings(url=redis_url),
        keys=settings.KeysSettings(poll_ms=1_000),
    )
    await prepare(shared)
    async with serving(shared) as node, composition.opened_store(shared, clock) as store:
        assert isinstance(node.admission, RedisAdmission)
        await store.custody.create_partner("acme", "Acme", "standard", author=Author("test"))
        made = await store.custody.create_key(WANTED, author=Author("test"))
        await eventually(lambda: node.directory.find(made.key.id) is not None)


async def test_a_database_password_comes_by_reference(
    configured: settings.Settings, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL is opened with what the environment holds, and the settings hold none of it."""
    password = urllib.parse.urlsplit(postgres_url).password
    assert password
    monkeypatch.setenv("PORTREEVE_TEST_PASSWORD", password)
    url = postgres_url.replace(f":{password}@", "@")
    storage = settings.StorageSettings(url=url, password="env:PORTREEVE_TEST_PASSWORD")
    elsewhere = msgspec.structs.replace(configured, storage=storage)
    await prepare(elsewhere)
    async with composition.opened(elsewhere, clock) as node:
        assert node.directory.revision >= 1


async def test_a_node_signs_the_ledger_and_copies_it(configured: settings.Settings, tmp_path: Path) -> None:
    """Checkpoints and sinks are a running node's work; nobody has to ask."""
    copy = tmp_path / "audit.jsonl"
    sink = settings.SinkSettings(name="copy", kind="file", path=str(copy))
    audit = settings.AuditSettings(checkpoint_entries=1, sink_poll_ms=10, sinks=(sink,))
    followed = msgspec.structs.replace(configured, audit=audit)
    await prepare(followed)
    async with serving(followed) as node:
        await eventually(lambda: copy.exists() and b"ring_key.created" in copy.read_bytes())
        made: list[object] = []
        async with asyncio.timeout(10):
            while not made:
                async with engine.reading(node.store.engine) as conn:
                    made = list((await conn.execute(sa.select(schema.audit_checkpoints.c.seq))).scalars())
        assert node.followers.failing == 0
        report = await node.store.exporter.verify_store(verify.Verifier())
    assert report.checkpoints == len(made)


async def test_a_node_whose_clock_is_wrong_schedules_nothing(configured: settings.Settings) -> None:
    """By its clock data keys and signing keys are long overdue; by the store's it has no say."""
    await prepare(configured)
    async with composition.opened(configured, lambda: NOW_MS + 100 * 86_400_000) as node:
        assert node.scheduler is not None
        assert [action for each in node.store.upkeep for action in await each.due()]
        assert await node.scheduler.turn() == ()


async def test_a_leaked_access_key_goes_whoever_else_hangs(
    configured: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may ask the KMS is not waited for: tokens by that key are refused at once."""
    await prepare(configured)

    async def hang(_: object) -> None:
        await asyncio.Event().wait()

    async with serving(configured) as node, composition.opened_store(configured, clock) as store:
        leaked = node.store.access_ring.get_signer().kid
        monkeypatch.setattr(data_keys.DataKeys, "refresh", hang)
        monkeypatch.setattr(ring.Ring, "refresh", hang)
        await store.rings[ring.ACCESS].rotate_now(author=Author("test"))
        await eventually(lambda: all(key["kid"] != leaked for key in node.store.access_ring.jwks()))
