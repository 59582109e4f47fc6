"""A database that goes away: one named error, in bounded time, and recovery without a new engine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import engine as storage_engine
from storage import migrate, revision
from storage.engine import StorageUnavailable, reading, transaction
from tests.support.databases import run_sql
from tests.support.processes import free_port
from tests.support.servers import PostgresServer

PATIENCE_MS = 1000
# Far above what the patience adds up to, far below what TCP or a lock would take on their own.
BOUND_SECONDS = 10


@pytest.fixture
def server(new_postgres_server: Callable[[], PostgresServer]) -> PostgresServer:
    return new_postgres_server()


@pytest.fixture
async def engine(server: PostgresServer) -> AsyncIterator[AsyncEngine]:
    patient = storage_engine.open_engine(server.url())
    await migrate.upgrade(patient)
    await patient.dispose()
    opened = storage_engine.open_engine(server.url(), patience_ms=PATIENCE_MS)
    yield opened
    await opened.dispose()


async def bump(engine: AsyncEngine) -> int:
    async with transaction(engine) as conn:
        return await revision.bump(conn)


@contextlib.asynccontextmanager
async def unavailable_in_time() -> AsyncIterator[None]:
    with pytest.raises(StorageUnavailable):
        async with asyncio.timeout(BOUND_SECONDS):
            yield


async def test_a_stopped_server_is_an_outage_and_its_return_ends_it(
    server: PostgresServer, engine: AsyncEngine
) -> None:
    """The pool finds by itself that its connections are dead."""
    assert await bump(engine) == 1
    await asyncio.to_thread(server.stop)
    for _ in range(3):
        async with unavailable_in_time():
            await bump(engine)
    await asyncio.to_thread(server.start)
    assert await bump(engine) == 2


async def test_a_server_that_was_restarted_meanwhile_is_no_outage(
    server: PostgresServer, engine: AsyncEngine
) -> None:
    """A connection is tried before it is lent out, and replaced when it is dead."""
    assert await bump(engine) == 1
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    assert await bump(engine) == 2


async def test_a_server_that_dies_in_a_transaction_keeps_nothing_of_it(
    server: PostgresServer, engine: AsyncEngine
) -> None:
    """The caller hears of the outage, and the change is not half there."""
    async with unavailable_in_time(), transaction(engine) as conn:
        assert await revision.bump(conn) == 1
        await asyncio.to_thread(server.kill)
        await revision.bump(conn)
    await asyncio.to_thread(server.start)
    assert await bump(engine) == 1


async def test_a_server_that_dies_before_the_commit_is_an_outage(
    server: PostgresServer, engine: AsyncEngine
) -> None:
    """Leaving the block is where it shows."""
    async with unavailable_in_time(), transaction(engine) as conn:
        await revision.bump(conn)
        await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    assert await bump(engine) == 1


async def test_a_server_that_stands_still_is_an_outage(server: PostgresServer, engine: AsyncEngine) -> None:
    """Its connections stay open and nobody answers: nothing hangs, before a statement or in one."""
    async with unavailable_in_time(), transaction(engine) as conn:
        await revision.bump(conn)
        await asyncio.to_thread(server.pause)
        await revision.bump(conn)
    for _ in range(2):
        async with unavailable_in_time():
            await bump(engine)
    await asyncio.to_thread(server.resume)
    assert await bump(engine) == 1


async def test_a_connection_that_the_server_ends_is_an_outage_once(
    server: PostgresServer, engine: AsyncEngine
) -> None:
    """As in a failover: the transaction is lost, the next one finds a new connection."""
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'portreeve'"
    async with unavailable_in_time(), transaction(engine) as conn:
        await revision.bump(conn)
        await asyncio.to_thread(run_sql, server.url(), others)
        await revision.bump(conn)
    assert await bump(engine) == 1


async def test_a_statement_that_takes_too_long_is_an_outage(engine: AsyncEngine) -> None:
    """The server ends it, and the connection is good for the next."""
    async with unavailable_in_time(), reading(engine) as conn:
        await conn.execute(sa.text("SELECT pg_sleep(60)"))
    assert await bump(engine) == 1


async def test_a_node_that_stands_still_in_a_change_is_thrown_out(
    server: PostgresServer, engine: AsyncEngine
) -> None:
    """It held the revision's lock; all other writers go on without it, and its change is lost whole."""
    hasty = storage_engine.open_engine(server.url(), patience_ms=250)
    async with unavailable_in_time(), transaction(hasty) as conn:
        assert await revision.bump(conn) == 1
        async with asyncio.timeout(BOUND_SECONDS):
            assert await bump(engine) == 1
    await hasty.dispose()


async def test_the_server_ends_a_statement_whose_client_has_vanished(engine: AsyncEngine) -> None:
    """The client's own timer died with it, so the server keeps one."""
    async with reading(engine) as conn:
        assert await conn.scalar(sa.text("SHOW statement_timeout")) == "1s"


async def test_a_server_that_only_reads_is_an_outage_for_writers(
    server: PostgresServer, engine: AsyncEngine
) -> None:
    """As a standby is, to which a failover has led."""
    alter = "ALTER ROLE portreeve SET default_transaction_read_only = {}"
    run_sql(server.url(), alter.format("on"))
    async with unavailable_in_time():
        await bump(engine)
    async with reading(engine) as conn:
        assert await revision.current(conn) == 0


@pytest.mark.parametrize("wrong", ["password", "database", "port", "encryption"])
async def test_a_wrong_way_to_the_server_is_an_outage(server: PostgresServer, wrong: str) -> None:
    """Nothing answers there as it should; a server that offers no TLS is not spoken to without."""
    password, port, database, mode = server.password, server.port, "postgres", "disable"
    match wrong:
        case "password":
            password = "swordfish"
        case "database":
            database = "nowhere"
        case "port":
            port = free_port()
        case _:
            mode = "verify-full"
    url = f"postgresql://portreeve@127.0.0.1:{port}/{database}?sslmode={mode}"
    engine = storage_engine.open_engine(url, password=password, patience_ms=PATIENCE_MS)
    with pytest.raises(StorageUnavailable) as unavailable:
        await bump(engine)
    assert "swordfish" not in str(unavailable.value)
    await engine.dispose()
