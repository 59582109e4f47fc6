"""Gateways for the attack tests: shared by many tests where nothing breaks them, own ones where faults do."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.support import databases
from tests.support.gateway import Deployment, deployed
from tests.support.servers import PostgresServer, RedisServer

_number = itertools.count(1)


def new_database(server: PostgresServer) -> str:
    """The URL of an empty database of its own."""
    name = f"hazards_{next(_number)}"
    databases.run_sql(server.url(), f"CREATE DATABASE {name}")
    return server.url(name)


@pytest.fixture(scope="session")
def own_redis() -> Iterator[RedisServer]:
    """A Redis that these tests may break and let recover."""
    server = RedisServer()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that these tests may break and let recover."""
    server = PostgresServer()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One node on the embedded defaults: SQLite, in-process replay store and limiter."""
    with deployed(tmp_path_factory.mktemp("embedded")) as deployment:
        yield deployment


@pytest.fixture(scope="session")
def shared(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer, postgres_server: PostgresServer
) -> Iterator[Deployment]:
    """Two nodes on one PostgreSQL and one Redis."""
    place = tmp_path_factory.mktemp("shared")
    storage = new_database(postgres_server)
    with deployed(place, storage=storage, redis=redis_server.url, nodes=2) as deployment:
        yield deployment


@pytest.fixture(params=["embedded", "shared"], scope="session")
def deployment(request: pytest.FixtureRequest) -> Deployment:
    """The same gateway over both kinds of backend."""
    found: Deployment = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def skewed(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer, postgres_server: PostgresServer
) -> Iterator[Deployment]:
    """Two nodes on one store, the second one's clock a minute ahead; a minute is the longest window here."""
    changes = {"signing": {"window_ms": 60_000}}
    place = tmp_path_factory.mktemp("skewed")
    storage = new_database(postgres_server)
    with deployed(place, storage=storage, redis=redis_server.url, changes=changes) as deployment:
        deployment.serve(clock_seconds=60)
        yield deployment


@pytest.fixture(scope="session")
def bounded(tmp_path_factory: pytest.TempPathFactory, own_postgres: PostgresServer) -> Iterator[Deployment]:
    """One node on a PostgreSQL of its own, with a short staleness bound."""
    changes = {"keys": {"staleness_bound_ms": 2_500}}
    place = tmp_path_factory.mktemp("bounded")
    with deployed(place, storage=new_database(own_postgres), changes=changes) as deployment:
        deployment.key()
        yield deployment


@pytest.fixture
def edge(embedded: Deployment) -> Deployment:
    """The embedded gateway, its upstreams forgetful of earlier tests."""
    embedded.paper.clear()
    embedded.live.clear()
    return embedded
