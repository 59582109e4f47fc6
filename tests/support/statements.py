"""One cache of compiled statements for every engine that tests open: compiling costs more than what most of them ask.

Invariant: what one engine compiled, another takes only where both have the same dialect and talk to a server of the
same version. No database's content is kept, and nothing of a test: values are not part of a compiled statement.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import LRUCache

from storage import engine as storage_engine

_KEPT = 2_000


class SharedStatements(LRUCache[Any, Any]):
    """An engine's cache knows a statement by the very dialect object, which is the engine's own."""

    def get(self, key: Any, default: Any = None) -> Any:  # noqa: ANN401  as SQLAlchemy asks
        return super().get(_anyones(key), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:  # noqa: ANN401  the same
        super().__setitem__(_anyones(key), compiled)


@pytest.fixture(scope="session", autouse=True)
def shared_statements() -> Iterator[SharedStatements]:
    """For as long as the run takes."""
    shared = SharedStatements(_KEPT)

    def create(url: str, **options: Any) -> AsyncEngine:  # noqa: ANN401  as SQLAlchemy takes them
        engine = create_async_engine(url, **options)
        engine.sync_engine._compiled_cache = shared
        return engine

    with mock.patch.object(storage_engine, "create_async_engine", create):
        yield shared


def _anyones(key: tuple[Any, ...]) -> tuple[Any, ...]:
    dialect, *rest = key
    return (type(dialect), dialect.server_version_info, *rest)
