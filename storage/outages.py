"""Which errors of the drivers speak of the database, and which of what was asked of it.

Invariant: told apart by type and code, never by message. What is neither known stays what it was: nothing is
called an outage because it could not be explained.
"""

from __future__ import annotations

import sqlite3

import asyncpg
from sqlalchemy import exc

# SQLSTATE classes: connection, login, database name, rollback by a concurrent transaction, resources, object
# state (a lock), operator, system. Class 42, where missing rights are too, is about the statement.
_SQLSTATE_CLASSES = frozenset({"08", "28", "3D", "40", "53", "55", "57", "58"})
_DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_READ_ONLY = frozenset({"25006", sqlite3.SQLITE_READONLY})


def find(error: BaseException) -> str | None:
    """The outage in words, if it is one."""
    cause = _unwrap(error)
    if isinstance(cause, exc.TimeoutError):
        return "all connections to the database are busy"
    if isinstance(cause, sqlite3.DatabaseError):
        return _find_sqlite(cause)
    code = _code(cause)
    if code is not None:
        is_outage = str(code)[:2] in _SQLSTATE_CLASSES or code in _READ_ONLY
        return f"the database answered {code}" if is_outage else None
    if has_lost_its_place(error):
        return "the conversation with the database broke off"
    # What asyncpg finds wrong with an argument is an InterfaceError too, and a ValueError.
    if isinstance(cause, OSError | asyncpg.InterfaceError) and not isinstance(cause, ValueError):
        return "the database does not answer"
    return None


def is_refused_write(error: BaseException) -> bool:
    """Somebody tried to write where only reading is possible."""
    return _code(_unwrap(error)) in _READ_ONLY


def has_lost_its_place(error: BaseException) -> bool:
    """The driver meets the server's farewell in the middle of something, and is then good for nothing more."""
    return isinstance(_unwrap(error), asyncpg.InternalClientError)


def _find_sqlite(error: sqlite3.DatabaseError) -> str | None:
    # SQLITE_ERROR is a wrong statement; any other code tells of the file, the disk or a lock.
    code = _code(error)
    if code in {None, sqlite3.SQLITE_ERROR} or isinstance(error, sqlite3.IntegrityError):
        return None
    return f"the SQLite file answered {error.sqlite_errorname}"


def _unwrap(error: BaseException) -> BaseException:
    """SQLAlchemy wraps the driver's error once, and for asyncpg an adapter wraps it before."""
    if isinstance(error, exc.DBAPIError) and error.orig is not None:
        error = error.orig
    cause = error.__cause__
    return cause if isinstance(cause, _DRIVER_ERRORS) else error


def _code(error: BaseException) -> object:
    return getattr(error, "sqlite_errorcode", getattr(error, "sqlstate", None))
