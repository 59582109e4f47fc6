"""Which errors count as an outage of the database."""

from __future__ import annotations

import sqlite3

import asyncpg
import pytest
from sqlalchemy import exc

from storage import outages


def sqlite_error(kind: type[sqlite3.Error], code: int, name: str) -> sqlite3.Error:
    error = kind("described")
    error.sqlite_errorcode = code
    error.sqlite_errorname = name
    return error


def wrapped(error: Exception) -> exc.DBAPIError:
    return exc.DBAPIError("SELECT 1", None, error)


OUTAGES = [
    ConnectionRefusedError(),
    TimeoutError(),
    exc.TimeoutError(),
    asyncpg.TooManyConnectionsError("described"),
    asyncpg.CannotConnectNowError("described"),
    asyncpg.AdminShutdownError("described"),
    asyncpg.InvalidPasswordError("described"),
    asyncpg.InvalidCatalogNameError("described"),
    asyncpg.DeadlockDetectedError("described"),
    asyncpg.LockNotAvailableError("described"),
    asyncpg.QueryCanceledError("described"),
    asyncpg.DiskFullError("described"),
    asyncpg.ReadOnlySQLTransactionError("described"),
    asyncpg.InterfaceError("described"),
    asyncpg.InternalClientError("described"),
    sqlite_error(sqlite3.OperationalError, sqlite3.SQLITE_BUSY, "SQLITE_BUSY"),
    sqlite_error(sqlite3.OperationalError, sqlite3.SQLITE_FULL, "SQLITE_FULL"),
    sqlite_error(sqlite3.OperationalError, sqlite3.SQLITE_READONLY, "SQLITE_READONLY"),
    sqlite_error(sqlite3.DatabaseError, sqlite3.SQLITE_CORRUPT, "SQLITE_CORRUPT"),
]

OURS = [
    ValueError(),
    asyncpg.UniqueViolationError("described"),
    asyncpg.UndefinedTableError("described"),
    asyncpg.InsufficientPrivilegeError("described"),
    asyncpg.exceptions._base.DataError("an argument of the wrong type"),
    sqlite_error(sqlite3.OperationalError, sqlite3.SQLITE_ERROR, "SQLITE_ERROR"),
    sqlite_error(sqlite3.IntegrityError, sqlite3.SQLITE_CONSTRAINT, "SQLITE_CONSTRAINT"),
    sqlite3.ProgrammingError("raised by the driver, without a code"),
]


@pytest.mark.parametrize("error", OUTAGES, ids=lambda error: type(error).__name__)
def test_the_database_being_away_is_an_outage(error: Exception) -> None:
    """Also inside SQLAlchemy's wrapping; in words that quote neither the server nor the file."""
    for found in (outages.find(error), outages.find(wrapped(error))):
        assert found
        assert "described" not in found


@pytest.mark.parametrize("error", OURS, ids=lambda error: type(error).__name__)
def test_what_was_asked_being_wrong_is_no_outage(error: Exception) -> None:
    """Our own mistakes are not answered with "try again later"."""
    assert outages.find(error) is None
    assert outages.find(wrapped(error)) is None


def test_an_adapted_error_is_known_by_what_it_adapts() -> None:
    """The adapter's own type says less than the driver's."""
    adapted = Exception("adapted")
    adapted.__cause__ = asyncpg.ConnectionDoesNotExistError("described")
    assert outages.find(wrapped(adapted)) == "the database answered 08003"


def test_a_write_where_only_reading_is_possible_is_told_apart() -> None:
    """In a reading it is the caller's mistake, elsewhere an outage."""
    assert outages.is_refused_write(wrapped(asyncpg.ReadOnlySQLTransactionError("described")))
    assert not outages.is_refused_write(TimeoutError())
