"""Migrations: they lead to exactly the schema that the code is written against, wholly or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import op
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import engine as storage_engine
from storage import migrate, revision, schema
from storage.engine import reading, transaction

ROOT = Path(__file__).resolve().parents[2]

UPGRADE = """\
import asyncio, sys
from storage import engine, migrate

async def main():
    opened = engine.open_engine(sys.argv[1], patience_ms=30_000)
    print(await migrate.upgrade(opened))
    await opened.dispose()

asyncio.run(main())
"""

# The step does all its work, and the process dies before anything is committed.
DIE_BEFORE_THE_COMMIT = """\
import os, signal
from alembic import command
real = command.upgrade
def upgrade(config, head):
    real(config, head)
    os.kill(os.getpid(), signal.SIGKILL)
command.upgrade = upgrade
"""


@pytest.fixture
async def empty(database_url: str) -> AsyncIterator[AsyncEngine]:
    """A database without any schema, of either kind."""
    opened = storage_engine.open_engine(database_url)
    yield opened
    await opened.dispose()


def start_upgrade(url: str, prelude: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", prelude + UPGRADE, url], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def describe(conn: Connection) -> dict[str, Any]:
    """Everything that the database itself says about our tables, order aside."""
    inspector = sa.inspect(conn)
    return {table: _describe_table(inspector, table) for table in schema.metadata.tables}


def _describe_table(inspector: sa.Inspector, table: str) -> dict[str, Any]:
    columns = inspector.get_columns(table)
    return {
        "columns": [{**column, "type": repr(column["type"])} for column in columns],
        "primary key": inspector.get_pk_constraint(table),
        "foreign keys": sorted(map(repr, inspector.get_foreign_keys(table))),
        "unique": sorted(map(repr, inspector.get_unique_constraints(table))),
        "checks": sorted(map(repr, inspector.get_check_constraints(table))),
        "indexes": sorted(
            repr({**index, "dialect_options": {k: str(v) for k, v in index["dialect_options"].items()}})
            for index in inspector.get_indexes(table)
        ),
    }


async def table_names(engine: AsyncEngine) -> set[str]:
    async with reading(engine) as conn:
        return set(await conn.run_sync(lambda sync: sa.inspect(sync).get_table_names()))


def compare(conn: Connection) -> list[Any]:
    # SQLite keeps no identities, so Alembic would miss the one that the metadata declares for servers.
    # Defaults of SQLite's columns are compared by `describe`.
    options = {"compare_type": True, "compare_server_default": conn.dialect.name != "sqlite"}
    return list(compare_metadata(MigrationContext.configure(conn, opts=options), schema.metadata))


async def test_migrations_and_metadata_agree(empty: AsyncEngine) -> None:
    """Alembic, comparing them, finds nothing left to do."""
    await migrate.upgrade(empty)
    async with reading(empty) as conn:
        assert await conn.run_sync(compare) == []


async def test_a_difference_would_be_found(empty: AsyncEngine) -> None:
    """The comparison above is not blind."""
    await migrate.upgrade(empty)
    async with transaction(empty) as conn:
        await conn.execute(sa.text("ALTER TABLE partners ADD COLUMN colour TEXT"))
    async with reading(empty) as conn:
        assert [difference[0] for difference in await conn.run_sync(compare)] == ["remove_column"]


async def test_migrations_make_what_the_metadata_would_make(empty: AsyncEngine) -> None:
    """Also in what Alembic does not compare: names, checks, conditions of indexes, identities."""
    async with transaction(empty) as conn:
        await conn.run_sync(schema.metadata.create_all)
        wanted = await conn.run_sync(describe)
        await conn.run_sync(schema.metadata.drop_all)
    await migrate.upgrade(empty)
    async with reading(empty) as conn:
        assert await conn.run_sync(describe) == wanted


def test_the_steps_are_those_that_are_there() -> None:
    """In the order in which they follow one another."""
    found = [step.revision for step in ScriptDirectory.from_config(migrate._config()).walk_revisions()]
    assert tuple(found[::-1]) == migrate.STEPS


async def test_an_upgrade_leads_to_a_usable_store(empty: AsyncEngine) -> None:
    """At revision nought, and accepted for serving."""
    upgraded = await migrate.upgrade(empty)
    await migrate.require_current(empty)
    async with reading(empty) as conn:
        assert await revision.current(conn) == 0
    assert upgraded == "0005"


async def test_a_second_upgrade_changes_nothing(engine: AsyncEngine) -> None:
    """`portreeve init` may be run at any time."""
    async with transaction(engine) as conn:
        await revision.bump(conn)
    await migrate.upgrade(engine)
    async with reading(engine) as conn:
        assert await revision.current(conn) == 1


def test_upgrades_at_the_same_time_take_turns(database_url: str) -> None:
    """Several nodes that start together on an empty database all find it ready."""
    running = [start_upgrade(database_url) for _ in range(3)]
    answers = [process.communicate(timeout=60)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert answers == ["0005"] * 3


async def test_an_upgrade_that_is_killed_leaves_what_it_found(database_url: str, empty: AsyncEngine) -> None:
    """And the next one goes through."""
    process = start_upgrade(database_url, DIE_BEFORE_THE_COMMIT)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert await table_names(empty) == set()
    with pytest.raises(migrate.SchemaMissing):
        await migrate.require_current(empty)
    await migrate.upgrade(empty)
    await migrate.require_current(empty)


async def test_a_step_that_fails_leaves_what_it_found(
    empty: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a schema is nobody's schema."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(op, "execute", fail)
    with pytest.raises(ZeroDivisionError):
        await migrate.upgrade(empty)
    assert await table_names(empty) == set()


async def test_an_empty_database_is_not_served(empty: AsyncEngine) -> None:
    """The error says what is needed and which command brings it."""
    with pytest.raises(migrate.SchemaMissing, match=r"0005.*`portreeve init`"):
        await migrate.require_current(empty)


async def test_a_schema_of_an_older_program_is_not_served(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are named, and the way forward."""
    monkeypatch.setattr(migrate, "STEPS", (*migrate.STEPS, "0006"))
    with pytest.raises(migrate.SchemaOutdated, match=r"0005.*0006.*`portreeve init`") as outdated:
        await migrate.require_current(engine)
    assert (outdated.value.found, outdated.value.expected) == ("0005", "0006")


async def test_a_schema_of_a_newer_program_is_neither_served_nor_touched(engine: AsyncEngine) -> None:
    """An older program does not know what its data mean."""
    async with transaction(engine) as conn:
        await conn.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(migrate.SchemaTooNew, match=r"9999.*0005"):
        await migrate.require_current(engine)
    with pytest.raises(migrate.SchemaTooNew):
        await migrate.upgrade(engine)


def test_the_steps_are_found_from_any_directory(tmp_path: Path) -> None:
    """They are part of the installed package, not of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    url = f"sqlite:{tmp_path / 'elsewhere.db'}"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", UPGRADE, url],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("0005", "")
