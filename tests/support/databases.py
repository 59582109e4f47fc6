"""Migrated PostgreSQL databases that tests borrow one after the other: copying one takes longer than most tests.

Invariant: who borrows one finds what a fresh copy of the template holds, and nobody else in it. When it comes back,
whoever is still connected is thrown out and its rows are put back. Refuses to lend again a database whose
schema or settings somebody touched, as its catalogues tell: that one is dropped.
"""

from __future__ import annotations

import asyncio
import itertools
import urllib.parse
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import asyncpg
import msgspec

from storage import engine as storage_engine
from storage import migrate
from tests.support.servers import PostgresServer

_T = TypeVar("_T")
_TEMPLATE = "migrated"
# Rows that were deleted still take their place: nothing vacuums here.
_LENT_AT_MOST = 100

_CATALOGUES = (
    "pg_attrdef",
    "pg_attribute",
    "pg_class",
    "pg_constraint",
    "pg_default_acl",
    "pg_extension",
    "pg_index",
    "pg_namespace",
    "pg_policy",
    "pg_proc",
    "pg_rewrite",
    "pg_trigger",
    "pg_type",
)
# Any change of a catalogue's row leaves a row of a later transaction, or one row less.
_SCHEMA = " UNION ALL ".join(
    [
        *(
            f"SELECT '{name}', count(*), max(xmin::text::bigint) FROM {name}"  # noqa: S608  the names above
            for name in _CATALOGUES
        ),
        "SELECT 'pg_database', count(*), max(xmin::text::bigint) FROM pg_database WHERE datname = current_database()",
        "SELECT 'pg_db_role_setting', count(*), 0 FROM pg_db_role_setting",
    ]
)
_OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
_TABLES = (
    "SELECT format('%I', relname) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
)


class _Database(msgspec.Struct):
    name: str
    schema: list[tuple[object, ...]]
    lent: int = 0


def in_thread(do: Callable[[], Awaitable[_T]]) -> _T:
    """On a loop of its own, so that tests with and without a loop can ask."""

    async def run() -> _T:
        return await do()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, run()).result()


def run_sql(url: str, statement: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    in_thread(execute)


def migrate_all(url: str) -> None:
    async def upgrade() -> None:
        engine = storage_engine.open_engine(url)
        try:
            await migrate.upgrade(engine)
        finally:
            await engine.dispose()

    in_thread(upgrade)


def database_name(url: str) -> str:
    return urllib.parse.urlsplit(url).path.removeprefix("/")


class MigratedDatabases:
    """One server's. Not for tests that do something to the server itself."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._numbers = itertools.count(1)
        self._spare: list[_Database] = []
        self._lent: dict[str, _Database] = {}
        run_sql(server.url(), f"CREATE DATABASE {_TEMPLATE} TEMPLATE template0")
        migrate_all(server.url(_TEMPLATE))
        self._putting_back = in_thread(self._write_putting_back)

    def lend(self) -> str:
        """The URL of a database that is the borrower's alone."""
        database = self._spare.pop() if self._spare else self._copy()
        database.lent += 1
        url = self._server.url(database.name)
        self._lent[url] = database
        return url

    def give_back(self, url: str) -> None:
        database = self._lent.pop(url)
        if database.lent < _LENT_AT_MOST and in_thread(lambda: self._clear(url, database.schema)):
            self._spare.append(database)
        else:
            run_sql(self._server.url(), f"DROP DATABASE {database.name} WITH (FORCE)")

    def _copy(self) -> _Database:
        name = f"{_TEMPLATE}_{next(self._numbers)}"
        run_sql(self._server.url(), f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE} {self._server.copying}")

        async def read() -> list[tuple[object, ...]]:
            connection = await asyncpg.connect(self._server.url(name))
            try:
                return await _read_schema(connection)
            finally:
                await connection.close()

        return _Database(name, in_thread(read))

    async def _clear(self, url: str, schema: list[tuple[object, ...]]) -> bool:
        """Whether it is again as it was made."""
        connection = await asyncpg.connect(url)
        try:
            while await connection.fetch(f"SELECT pg_terminate_backend(pid) {_OTHERS}"):  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.005)
            if await _read_schema(connection) != schema:
                return False
            await connection.execute(self._putting_back)
        finally:
            await connection.close()
        return True

    async def _write_putting_back(self) -> str:
        """The statements that leave nothing but the rows that migrations bring."""
        connection = await asyncpg.connect(self._server.url(_TEMPLATE))
        try:
            statements = []
            for (table,) in await connection.fetch(_TABLES):
                statements.append(f"DELETE FROM {table}")  # noqa: S608  our own tables
                asking = f"SELECT quote_literal({table}::text) FROM {table}"  # noqa: S608  as above
                rows = await connection.fetch(asking)
                statements += [f"INSERT INTO {table} SELECT ({row}::{table}).*" for (row,) in rows]
        finally:
            await connection.close()
        # Neither foreign keys nor triggers ask for an order of tables.
        return ";".join(["BEGIN", "SET LOCAL session_replication_role = replica", *statements, "COMMIT"])


async def _read_schema(connection: asyncpg.Connection) -> list[tuple[object, ...]]:
    return sorted(tuple(row) for row in await connection.fetch(_SCHEMA))
