import asyncio
import re
from collections.abc import Sequence

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from keys import usage
from keys.usage import Usage
from storage import engine, revision, schema
from tests.support.custody import START_MS, Room


async def stored(room: Room, key_id: str) -> tuple[int | None, str | None, int]:
    version = (await room.custody.get_key(key_id)).versions[0]
    return version.last_used_at, version.last_used_source, version.use_count


async def test_uses_are_written_as_the_last_and_the_count(room: Room) -> None:
    """A flush writes when and from where a version was last used, and adds how often."""
    key_id = (await room.create_key()).key.id
    noted = Usage()
    noted.note(key_id, 1, "10.0.0.1", START_MS + 1)
    noted.note(key_id, 1, "10.0.0.2", START_MS + 2)
    assert await noted.flush(room.engine) == 1
    assert await stored(room, key_id) == (START_MS + 2, "10.0.0.2", 2)
    noted.note(key_id, 1, "10.0.0.3", START_MS + 3)
    await noted.flush(room.engine)
    assert await stored(room, key_id) == (START_MS + 3, "10.0.0.3", 3)


async def test_an_older_use_changes_only_the_count(room: Room) -> None:
    """Neither a late note nor a late flush of another node sets the last use back."""
    key_id = (await room.create_key()).key.id
    ours, theirs = Usage(), Usage()
    theirs.note(key_id, 1, "old", START_MS)
    ours.note(key_id, 1, "new", START_MS + 9)
    ours.note(key_id, 1, "late", START_MS + 5)
    await ours.flush(room.engine)
    await theirs.flush(room.engine)
    assert await stored(room, key_id) == (START_MS + 9, "new", 3)


async def test_versions_are_told_apart(room: Room) -> None:
    """A use of one version or key is not a use of another."""
    one, other = [(await room.create_key()).key.id for _ in range(2)]
    noted = Usage()
    for version, source in ((1, "a"), (1, "a"), (2, "b")):
        noted.note(one, version, source, START_MS)
    assert len(noted) == 2
    await noted.flush(room.engine)
    assert await stored(room, one) == (START_MS, "a", 2)
    assert await stored(room, other) == (None, None, 0)


async def test_a_flush_is_no_change(room: Room) -> None:
    """Usage bumps no revision, writes no event and wakes nobody."""
    key_id = (await room.create_key()).key.id
    async with engine.reading(room.engine) as conn:
        before = await revision.current(conn)
        events = (await conn.execute(sa.select(schema.audit_events))).all()
    announced = list(room.wakeup.announced)
    noted = Usage()
    noted.note(key_id, 1, "a", START_MS)
    await noted.flush(room.engine)
    async with engine.reading(room.engine) as conn:
        assert await revision.current(conn) == before
        assert (await conn.execute(sa.select(schema.audit_events))).all() == events
    assert room.wakeup.announced == announced


async def test_an_outage_costs_no_use_and_no_memory(room: Room, dead_engine: AsyncEngine) -> None:
    """While the store is away uses gather in one entry a version, and are written whole when it is back."""
    key_id = (await room.create_key()).key.id
    noted = Usage()
    for number in range(1_000):
        noted.note(key_id, 1, "10.0.0.1", START_MS + number)
        if number % 250 == 0:
            with pytest.raises(engine.StorageUnavailable):
                await noted.flush(dead_engine)
        assert len(noted) == 1
    await noted.flush(room.engine)
    assert await stored(room, key_id) == (START_MS + 999, "10.0.0.1", 1_000)
    assert len(noted) == 0


async def test_what_is_noted_during_a_flush_is_kept(room: Room, dead_engine: AsyncEngine) -> None:
    """A use that arrives while a flush is failing is added to what the flush gives back."""
    key_id = (await room.create_key()).key.id
    noted = Usage()
    noted.note(key_id, 1, "before", START_MS)
    flushing = asyncio.create_task(noted.flush(dead_engine))
    while len(noted):  # noqa: ASYNC110  the moment is when the flush has taken its uses out
        await asyncio.sleep(0)
    noted.note(key_id, 1, "after", START_MS + 1)
    with pytest.raises(engine.StorageUnavailable):
        await flushing
    await noted.flush(room.engine)
    assert await stored(room, key_id) == (START_MS + 1, "after", 2)


async def test_a_cancelled_flush_keeps_its_uses(room: Room, dead_engine: AsyncEngine) -> None:
    """A shutdown in the middle of a flush loses nothing that the last flush cannot write."""
    key_id = (await room.create_key()).key.id
    noted = Usage()
    noted.note(key_id, 1, "a", START_MS)
    flushing = asyncio.create_task(noted.flush(dead_engine))
    while len(noted):  # noqa: ASYNC110  the moment is when the flush has taken its uses out
        await asyncio.sleep(0)
    flushing.cancel()
    await asyncio.wait([flushing])
    assert len(noted) == 1


async def test_many_versions_are_written_in_batches(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long list goes in several short transactions, and all of it arrives."""
    monkeypatch.setattr(usage, "_BATCH", 2)
    made = [(await room.create_key()).key.id for _ in range(5)]
    noted = Usage()
    for key_id in made:
        noted.note(key_id, 1, "a", START_MS)
    assert await noted.flush(room.engine) == 5
    assert [(await stored(room, key_id))[2] for key_id in made] == [1] * 5


async def test_versions_are_written_in_one_order(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """However they came into use: two nodes that write the same ones never wait for each other in a ring."""
    written: list[usage.Version] = []

    async def write(_: Usage, __: AsyncEngine, batch: Sequence[usage.Version]) -> None:
        written.extend(batch)

    monkeypatch.setattr(Usage, "_write", write)
    noted = Usage()
    for key_id, version in (("b", 1), ("a", 2), ("c", 1), ("a", 1)):
        noted.note(key_id, version, "s", START_MS)
    await noted.flush(room.engine)
    assert written == [("a", 1), ("a", 2), ("b", 1), ("c", 1)]


async def test_an_empty_flush_asks_nothing(dead_engine: AsyncEngine) -> None:
    """Without uses the store is left alone."""
    assert await Usage().flush(dead_engine) == 0


async def test_the_first_use_in_a_while_is_news(room: Room) -> None:
    """Whoever asks whether a version is in use is not told otherwise for an interval; a steady use is no news."""
    key_id = (await room.create_key()).key.id
    noted = Usage()
    assert not noted.news.is_set()
    noted.note(key_id, 1, "a", START_MS)
    assert noted.news.is_set()
    await noted.flush(room.engine)
    assert not noted.news.is_set()
    noted.note(key_id, 1, "a", START_MS + 60_000)
    assert not noted.news.is_set()
    await noted.flush(room.engine)
    noted.note(key_id, 1, "a", START_MS + 120_001)
    assert noted.news.is_set()


async def test_what_was_not_written_stays_unknown(room: Room, dead_engine: AsyncEngine) -> None:
    """A flush that failed has told nobody: the use is news again when it is noted after the outage."""
    key_id = (await room.create_key()).key.id
    noted = Usage()
    noted.note(key_id, 1, "a", START_MS)
    with pytest.raises(engine.StorageUnavailable):
        await noted.flush(dead_engine)
    assert noted.news.is_set()
    await noted.flush(room.engine)
    assert not noted.news.is_set()


@pytest.mark.parametrize("driver", ["sqlite+aiosqlite", "postgresql+asyncpg"])
def test_every_parameter_comes_where_its_driver_wants_it(driver: str) -> None:
    """SQLite's driver takes a value as often as it is written, PostgreSQL's once: none is left out."""
    prepared = usage._prepare(make_url(f"{driver}://").get_dialect()())
    arranged = prepared.arrange(usage._PARAMETERS)
    assert set(arranged) == set(usage._PARAMETERS)
    marks = prepared.text.count("?") or len(set(re.findall(r"\$\d", prepared.text)))
    assert len(arranged) == marks
