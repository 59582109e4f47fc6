"""The one door to the database: an engine from a URL, and transactions over it.

Invariant: what `transaction` commits has reached the disk; it is there whole or not at all. `reading` sees
one moment of the database throughout and cannot write. Whatever makes the database unreachable, busy, full or
broken leaves here as StorageUnavailable, in bounded time; an error in what was asked (a constraint, a
statement) leaves as SQLAlchemy's own.
Refuses: URLs with options it does not know, an unencrypted way to a database on another machine unless the
URL asks for one, and a SQLite file that others can read.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import Connection, event, exc, util
from sqlalchemy.engine import Dialect, ExceptionContext
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from storage import location, outages

_PATIENCE_MS = 5_000
_RECYCLE_SECONDS = 1_800

_READS = "portreeve_reads"

_ON_CONNECT = (
    # First, because the next one may meet another process that is just changing the same.
    "PRAGMA busy_timeout = {patience_ms}",
    # A command that writes and a node that reads do not wait for one another.
    "PRAGMA journal_mode = WAL",
    # In WAL mode NORMAL may lose the last commits in a power cut: a revocation, or a secret that was already
    # shown.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    # A destroyed secret's ciphertext is overwritten, not only unlinked.
    "PRAGMA secure_delete = ON",
    # A file that somebody else could have prepared gets no functions to call from its schema.
    "PRAGMA trusted_schema = OFF",
)


class StorageUnavailable(Exception):
    """The database cannot be asked now. The message names the kind of failure, and nothing of its insides."""


class StorageFileExposed(Exception):
    """The SQLite file may be read or written by other accounts."""

    def __init__(self, path: Path, mode: int) -> None:
        super().__init__(f"{path} has mode {mode:04o}: run chmod 600 on it")
        self.path = path


def open_engine(
    url: str, *, password: str | None = None, pool_size: int = 5, patience_ms: int = _PATIENCE_MS
) -> AsyncEngine:
    """Connects at the first use. `sqlite:PATH` makes the file, empty and 0600, when there is none.
    `patience_ms` bounds each wait: for a connection, for a statement, for a lock.
    """
    place = location.parse(url, password=password)
    # Parameters are ciphertexts and names: an error quotes its statement without them.
    common = {
        "pool_size": pool_size,
        "max_overflow": 0,
        "pool_timeout": patience_ms / 1000,
        "hide_parameters": True,
    }
    if isinstance(place, location.SqliteLocation):
        engine = _open_sqlite(place, patience_ms, common)
    else:
        engine = _open_postgresql(place, patience_ms, common)
    event.listen(engine.sync_engine, "handle_error", _translate_in_statement)
    return engine


def _open_sqlite(place: location.SqliteLocation, patience_ms: int, common: dict[str, Any]) -> AsyncEngine:
    _claim_file(place.path)
    # The driver opens no transactions of its own: `_begin_sqlite` says which kind.
    engine = create_async_engine(place.driver_url, connect_args={"isolation_level": None}, **common)
    event.listen(engine.sync_engine, "do_connect", _connect_sqlite)
    event.listen(engine.sync_engine, "connect", functools.partial(_prepare_sqlite, patience_ms))
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _open_postgresql(
    place: location.PostgresqlLocation, patience_ms: int, common: dict[str, Any]
) -> AsyncEngine:
    settings = {
        "application_name": "portreeve",
        # Waiting for a lock counts.
        "statement_timeout": str(patience_ms),
        # A node that hangs in a transaction must not hold the revision's lock against all others.
        "idle_in_transaction_session_timeout": str(3 * patience_ms),
    }
    seconds = patience_ms / 1000
    connect = {"timeout": seconds, "command_timeout": seconds, "ssl": place.tls, "server_settings": settings}
    return create_async_engine(
        place.driver_url, pool_pre_ping=True, pool_recycle=_RECYCLE_SECONDS, connect_args=connect, **common
    )


def _claim_file(path: Path) -> None:
    """SQLite gives its -wal and -shm files the mode of the main one."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as cause:
        raise StorageUnavailable(f"{path}: {cause.strerror}") from cause
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)
    if mode & 0o077:
        raise StorageFileExposed(path, mode)


def _connect_sqlite(dialect: Dialect, _record: object, arguments: Any, options: Any) -> Any:  # noqa: ANN401
    return util.await_only(_open_whole(dialect, arguments, options))


async def _open_whole(dialect: Dialect, arguments: Any, options: Any) -> Any:  # noqa: ANN401
    """A driver that is left while it opens the file tells its end to a loop that may be closed by then, dies of it and
    never closes what it opened. So whoever is cancelled first waits until it can be closed.
    """
    opening = asyncio.ensure_future(util.greenlet_spawn(dialect.connect, *arguments, **options))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await util.greenlet_spawn((await opening).close)
        raise


def _prepare_sqlite(patience_ms: int, connection: Any, _record: object) -> None:  # noqa: ANN401
    """`connection` is the driver's own, behind an adapter without types."""
    cursor = connection.cursor()
    for statement in _ON_CONNECT:
        cursor.execute(statement.format(patience_ms=patience_ms))
    cursor.close()


def _begin_sqlite(conn: Connection) -> None:
    """A transaction that starts as a reader and then writes cannot wait for its turn: it fails at once. So
    everything but a declared reading takes the write lock when it begins.
    """
    reads = conn.get_execution_options().get(_READS, False)
    conn.exec_driver_sql(f"PRAGMA query_only = {'ON' if reads else 'OFF'}")
    conn.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Commits at the end of the block, rolls back when it raises."""
    async with contextlib.AsyncExitStack() as stack:
        with _translated():
            conn = await stack.enter_async_context(engine.connect())
            await conn.begin()
        # Not around the block: an OSError of the caller's own is not the database's.
        yield conn
        with _translated():
            await conn.commit()


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One consistent moment; a statement that writes is refused by the database."""
    options: dict[str, Any] = {_READS: True}
    if engine.dialect.name == "postgresql":
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    async with transaction(engine.execution_options(**options)) as conn:
        yield conn


def _translate_in_statement(context: ExceptionContext) -> None:
    # The pool tries a connection before it lends it out, and replaces a dead one: it has to see why.
    if context.is_pre_ping:
        return
    cause, conn = context.original_exception, context.connection
    reads = conn is not None and conn.get_execution_options().get(_READS, False)
    # Elsewhere a read-only answer is an outage: a standby, or a file system that went read-only.
    if reads and outages.is_refused_write(cause):
        return
    if outages.has_lost_its_place(cause):
        # The library would keep the connection, which does not look closed yet.
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = False
    found = outages.find(cause)
    if found is not None:
        raise StorageUnavailable(found) from cause


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """For what happens outside statements: connecting, waiting for the pool, committing."""
    try:
        yield
    except (exc.SQLAlchemyError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as cause:
        found = outages.find(cause)
        if found is None:
            raise
        raise StorageUnavailable(found) from cause
