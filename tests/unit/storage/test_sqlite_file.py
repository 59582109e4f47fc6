"""One SQLite file, one node that serves and a command that writes: the file's secrecy and its sharing."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import engine as storage_engine
from storage import migrate, revision
from storage.engine import StorageFileExposed, StorageUnavailable, reading, transaction

ROOT = Path(__file__).resolve().parents[3]

BUMP_MANY_TIMES = """\
import asyncio, sys
from storage import engine, revision

async def main():
    opened = engine.open_engine(sys.argv[1], patience_ms=30_000)
    for _ in range(50):
        async with engine.transaction(opened) as conn:
            await revision.bump(conn)
    await opened.dispose()

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "portreeve.db"


@pytest.fixture
async def engine(path: Path) -> AsyncIterator[AsyncEngine]:
    opened = storage_engine.open_engine(f"sqlite:{path}")
    await migrate.upgrade(opened)
    yield opened
    await opened.dispose()


def modes_in(directory: Path) -> dict[str, int]:
    return {found.name: stat.S_IMODE(found.stat().st_mode) for found in directory.iterdir()}


def start_bumping(path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", BUMP_MANY_TIMES, f"sqlite:{path}"], cwd=ROOT)


async def pragma(engine: AsyncEngine, name: str) -> object:
    async with reading(engine) as conn:
        return await conn.scalar(sa.text(f"PRAGMA {name}"))


async def test_the_file_and_its_companions_are_the_owners_alone(path: Path, engine: AsyncEngine) -> None:
    """Whatever the process's mask allows."""
    async with transaction(engine) as conn:
        await revision.bump(conn)
        found = modes_in(path.parent)
    assert found == {"portreeve.db": 0o600, "portreeve.db-wal": 0o600, "portreeve.db-shm": 0o600}


async def test_the_mask_of_the_process_does_not_open_the_file(path: Path) -> None:
    """The mode is asked for, not left over."""
    before = os.umask(0)
    try:
        await storage_engine.open_engine(f"sqlite:{path}").dispose()
    finally:
        os.umask(before)
    assert modes_in(path.parent) == {"portreeve.db": 0o600}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_open_is_refused(path: Path, mode: int) -> None:
    """The error says how to mend it; mending it silently would hide that it was open."""
    path.touch()
    path.chmod(mode)
    with pytest.raises(StorageFileExposed, match="chmod 600"):
        storage_engine.open_engine(f"sqlite:{path}")
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_directory_that_is_not_there_is_an_outage(tmp_path: Path) -> None:
    """Named, so that the operator sees which."""
    with pytest.raises(StorageUnavailable, match="nowhere"):
        storage_engine.open_engine(f"sqlite:{tmp_path / 'nowhere' / 'portreeve.db'}")


@pytest.fixture
def diary(path: Path) -> Iterator[Path]:
    """Somebody else's file, which has to stay as it is."""
    path.write_text("dear diary, " * 1000)
    path.chmod(0o600)
    yield path
    assert path.read_text() == "dear diary, " * 1000


async def test_a_file_that_is_no_database_is_an_outage(diary: Path) -> None:
    """It is neither overwritten nor read as something else."""
    engine = storage_engine.open_engine(f"sqlite:{diary}")
    with pytest.raises(StorageUnavailable, match="SQLITE_NOTADB"):
        await migrate.upgrade(engine)
    await engine.dispose()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("secure_delete", 1),
        ("trusted_schema", 0),
        ("busy_timeout", 5000),
    ],
)
async def test_every_connection_is_prepared(engine: AsyncEngine, name: str, value: object) -> None:
    """What SQLite leaves off by default, or to the build, is said."""
    assert await pragma(engine, name) == value


async def test_writers_in_several_processes_take_turns(path: Path, engine: AsyncEngine) -> None:
    """A serving node and commands beside it: nobody fails, no change is lost."""
    running = [start_bumping(path) for _ in range(2)]
    own = 0
    while any(process.poll() is None for process in running):
        async with transaction(engine) as conn:
            await revision.bump(conn)
        own += 1
    assert [process.returncode for process in running] == [0, 0]
    async with reading(engine) as conn:
        assert await revision.current(conn) == 100 + own


async def test_a_reader_does_not_wait_for_another_processs_writer(path: Path, engine: AsyncEngine) -> None:
    """Polling goes on while a command holds the lock."""
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE revision SET value = 9")
        async with reading(engine) as conn:
            assert await revision.current(conn) == 0
        other.execute("COMMIT")
        async with reading(engine) as conn:
            assert await revision.current(conn) == 9
    finally:
        other.close()


def test_who_is_cancelled_while_a_connection_opens_leaves_none_behind(
    migrated_sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whichever turn of the loop: the driver's thread ends in order, though the loop ends with the caller."""
    died: list[object] = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    before = set(threading.enumerate())

    async def begin_and_cancel(turns: int) -> None:
        engine = storage_engine.open_engine(migrated_sqlite_url)

        async def read() -> None:
            async with storage_engine.reading(engine):
                await asyncio.Event().wait()

        reading = asyncio.create_task(read())
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await engine.dispose()

    for turns in range(40):
        asyncio.run(begin_and_cancel(turns))
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()
    assert died == []
