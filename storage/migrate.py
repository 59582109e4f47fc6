"""Brings a database to the schema of this program, or says that it is not there.

Invariant: an upgrade is one transaction; a process killed in the middle leaves the schema it found. Two
upgrades of one database run one after the other, and the second finds nothing to do.
Refuses: to serve on any other schema than its own, older or newer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage import engine

if TYPE_CHECKING:
    from alembic.config import Config

# In their order. They stand here as well so that only who upgrades waits for Alembic, and not every command.
STEPS: Final = ("0001", "0002", "0003", "0004", "0005")
_TABLE: Final = "alembic_version"
# Any number that nobody else locks by in this database will do; it must only never change.
_UPGRADE_LOCK = 0x706F727472656576


class SchemaMismatch(Exception):
    """The database has another schema than this program."""

    def __init__(self, found: str | None, expected: str, advice: str) -> None:
        super().__init__(
            f"the database is at schema {found or 'none'}, this program needs {expected}: {advice}"
        )
        self.found = found
        self.expected = expected


class SchemaMissing(SchemaMismatch):
    def __init__(self, expected: str) -> None:
        super().__init__(None, expected, "run `portreeve init`")


class SchemaOutdated(SchemaMismatch):
    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found, expected, "run `portreeve init`, which upgrades it")


class SchemaTooNew(SchemaMismatch):
    def __init__(self, found: str, expected: str) -> None:
        super().__init__(found, expected, "run the newer program; `portreeve init` does not go back")


async def upgrade(engine_: AsyncEngine) -> str:
    """To this program's schema; answers its revision."""
    async with engine.transaction(engine_) as conn:
        await _take_turn(conn)
        _refuse_newer(await conn.run_sync(_found))
        await conn.run_sync(_upgrade)
    return STEPS[-1]


async def require_current(engine_: AsyncEngine) -> None:
    async with engine.reading(engine_) as conn:
        found = await conn.run_sync(_found)
    if found is None:
        raise SchemaMissing(STEPS[-1])
    _refuse_newer(found)
    if found != STEPS[-1]:
        raise SchemaOutdated(found, STEPS[-1])


async def _take_turn(conn: AsyncConnection) -> None:
    """SQLite gives the turn with the transaction itself."""
    if conn.dialect.name == "postgresql":
        lock = sqlalchemy.func.pg_advisory_xact_lock(sqlalchemy.literal(_UPGRADE_LOCK, sqlalchemy.BigInteger))
        await conn.execute(sqlalchemy.select(lock))


def _refuse_newer(found: str | None) -> None:
    if found is not None and found not in STEPS:
        raise SchemaTooNew(found, STEPS[-1])


def _found(conn: Connection) -> str | None:
    if not sqlalchemy.inspect(conn).has_table(_TABLE):
        return None
    step = sqlalchemy.column("version_num", sqlalchemy.String)
    found: str | None = conn.execute(sqlalchemy.select(step).select_from(sqlalchemy.table(_TABLE))).scalar()
    return found


def _upgrade(conn: Connection) -> None:
    from alembic import command  # noqa: PLC0415  a sixth of what a command takes to start

    config = _config()
    config.attributes["connection"] = conn
    command.upgrade(config, "head")


def _config() -> Config:
    """No file: the steps are found as part of the installed package."""
    from alembic.config import Config  # noqa: PLC0415  as above

    config = Config()
    config.set_main_option("script_location", "storage:migrations")
    config.set_main_option("path_separator", "os")
    return config
