"""Gateways for the attack tests: shared by many tests where nothing breaks them, own ones where faults do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Deployment, deployed


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One node on the embedded defaults: SQLite, in-process replay store and limiter."""
    with deployed(tmp_path_factory.mktemp("embedded")) as deployment:
        yield deployment


@pytest.fixture(scope="session")
def shared(
    tmp_path_factory: pytest.TempPathFactory,
    redis_server: Any,  # noqa: ANN401  a server of tests/support/servers.py
    new_database: Callable[[], str],
) -> Iterator[Deployment]:
    """Two nodes on one PostgreSQL and one Redis."""
    place = tmp_path_factory.mktemp("shared")
    with deployed(place, storage=new_database(), redis=redis_server.url, nodes=2) as deployment:
        yield deployment


@pytest.fixture(params=["embedded", "shared"], scope="session")
def deployment(request: pytest.FixtureRequest) -> Deployment:
    """The same gateway over both kinds of backend."""
    found: Deployment = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def edge(embedded: Deployment) -> Deployment:
    """The embedded gateway, its upstreams forgetful of earlier tests."""
    embedded.paper.clear()
    embedded.live.clear()
    return embedded


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path
