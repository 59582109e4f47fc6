"""A PostgreSQL for a measurement: the one that the tests run, started for it and ended with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.configuration import PASSWORD_VARIABLE


@contextmanager
def started() -> Iterator[Callable[[str], str]]:
    """Makes a database of a name, and gives its address; the password is in the environment."""
    from tests.support import databases  # noqa: PLC0415  what carries PostgreSQL is of the development lock
    from tests.support.servers import PostgresServer  # noqa: PLC0415  the same

    server = PostgresServer()
    try:
        server.start()
        os.environ[PASSWORD_VARIABLE] = server.password

        def make(name: str) -> str:
            databases.run_sql(server.url(), f"CREATE DATABASE {name}")
            return server.url(name).replace(f":{server.password}@", "@")

        yield make
    finally:
        server.close()
