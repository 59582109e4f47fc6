"""Fixtures over the stores: a Redis and a PostgreSQL a run, an empty database a test.

Invariant: no test sees what another one stored. Tests that stop, pause or fill a server take one of their own
from `new_redis_server` or `new_postgres_server`.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import engine as storage_engine
from tests.support.databases import MigratedDatabases, database_name, migrate_all, run_sql
from tests.support.servers import PostgresServer, RedisServer


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Shared by the run: not to be stopped, paused or filled."""
    server = RedisServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    redis_server.flush()
    return redis_server.url


@pytest.fixture
def new_redis_server() -> Iterator[Callable[..., RedisServer]]:
    """Makes started servers of the test's own; arguments are redis-server's."""
    made: list[RedisServer] = []

    def make(*arguments: str, packaged: bool | None = None) -> RedisServer:
        server = RedisServer(*arguments, packaged=packaged)
        made.append(server)
        server.start()
        return server

    yield make
    for server in made:
        server.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Shared by the run: not to be stopped or paused."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def new_database(postgres_server: PostgresServer) -> Callable[[], str]:
    """Makes empty PostgreSQL databases that stay until the run ends; answers their URLs."""
    numbers = itertools.count(1)

    def make() -> str:
        name = f"test_{next(numbers)}"
        run_sql(postgres_server.url(), f"CREATE DATABASE {name} TEMPLATE template0 {postgres_server.copying}")
        return postgres_server.url(name)

    return make


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, new_database: Callable[[], str]) -> Iterator[str]:
    """An empty database for this test."""
    url = new_database()
    yield url
    run_sql(postgres_server.url(), f"DROP DATABASE {database_name(url)} WITH (FORCE)")


@pytest.fixture
def new_postgres_server() -> Iterator[Callable[..., PostgresServer]]:
    """Makes started servers of the test's own."""
    made: list[PostgresServer] = []

    def make(*, packaged: bool | None = None) -> PostgresServer:
        server = PostgresServer(packaged=packaged)
        made.append(server)
        server.start()
        return server

    yield make
    for server in made:
        server.close()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A file that does not exist yet."""
    return f"sqlite:{tmp_path / 'portreeve.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database of either kind."""
    url: str = request.getfixturevalue({"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param])
    return url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrated once a run; tests copy it."""
    path = tmp_path_factory.mktemp("storage") / "migrated.db"
    migrate_all(f"sqlite:{path}")
    return path


@pytest.fixture(scope="session")
def migrated_databases(postgres_server: PostgresServer) -> MigratedDatabases:
    """Migrated once a run; tests borrow copies."""
    return MigratedDatabases(postgres_server)


@pytest.fixture
def migrated_sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    target = tmp_path / "migrated.db"
    shutil.copy(migrated_sqlite, target)
    return f"sqlite:{target}"


@pytest.fixture
def migrated_postgres_url(migrated_databases: MigratedDatabases) -> Iterator[str]:
    url = migrated_databases.lend()
    yield url
    migrated_databases.give_back(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_url(request: pytest.FixtureRequest) -> str:
    """A database of either kind that already has the current schema."""
    kinds = {"sqlite": "migrated_sqlite_url", "postgresql": "migrated_postgres_url"}
    url: str = request.getfixturevalue(kinds[request.param])
    return url


@pytest.fixture
async def engine(migrated_url: str) -> AsyncIterator[AsyncEngine]:
    """A migrated database of either kind."""
    opened = storage_engine.open_engine(migrated_url)
    yield opened
    await opened.dispose()
