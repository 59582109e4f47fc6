"""The revision: one number that grows with every committed change, and when it last did.

Invariant: revisions become visible in order. `bump` locks the one row until the caller's transaction ends, so
that whoever sees revision N sees everything that was stamped with N or less.
"""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import clock, schema

_VALUE = schema.revision.c.value
_LATEST = sqlalchemy.select(_VALUE, schema.revision.c.changed_at)


class Revision(NamedTuple):
    """`changed_at`: by the store's clock, when the change got its turn, a moment before it was committed. None where
    the last change was made before that was written down.
    """

    value: int
    changed_at: int | None


async def bump(conn: AsyncConnection) -> int:
    """The caller's own revision, for the rows it changes. Called before anything is read that the change
    rests on.
    """
    now = clock.now_ms(conn.dialect.name)
    bumping = sqlalchemy.update(schema.revision).values(value=_VALUE + 1, changed_at=now)
    bumped: int = (await conn.execute(bumping.returning(_VALUE))).scalar_one()
    return bumped


async def lock(conn: AsyncConnection) -> None:
    """For what is no change that anybody follows, and yet must not be done twice at once."""
    await conn.execute(sqlalchemy.select(_VALUE).with_for_update())


async def current(conn: AsyncConnection) -> int:
    found: int = (await conn.execute(sqlalchemy.select(_VALUE))).scalar_one()
    return found


async def latest(conn: AsyncConnection) -> Revision:
    return Revision(*(await conn.execute(_LATEST)).one())
