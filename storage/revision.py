"""The revision: one number that grows with every committed change.

Invariant: revisions become visible in order. `bump` locks the one row until the caller's transaction ends, so
that whoever sees revision N sees everything that was stamped with N or less.
"""

from __future__ import annotations

import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import schema

_VALUE = schema.revision.c.value


async def bump(conn: AsyncConnection) -> int:
    """The caller's own revision, for the rows it changes. Called before anything is read that the change
    rests on.
    """
    statement = sqlalchemy.update(schema.revision).values(value=_VALUE + 1).returning(_VALUE)
    bumped: int = (await conn.execute(statement)).scalar_one()
    return bumped


async def current(conn: AsyncConnection) -> int:
    found: int = (await conn.execute(sqlalchemy.select(_VALUE))).scalar_one()
    return found
