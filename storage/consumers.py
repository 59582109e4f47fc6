"""Who follows the ledger, and how far each has come: the ledger is the outbox of every change.

Invariant: a consumer moves on only in the transaction in which it has written down what it took over, or after it
has delivered; so each entry reaches it at least once, in order. A new consumer begins at the end of the ledger,
unless it asks for all of it. Places never go back.
"""

from __future__ import annotations

import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import audit, schema

_PLACES = schema.consumers


async def register(conn: AsyncConnection, name: str, now_ms: int, *, from_start: bool = False) -> int:
    """Where the consumer stands; the first time, it is given its place."""
    found = await find(conn, name)
    if found is not None:
        return found
    seq = 0 if from_start else (await audit.head(conn))[0]
    await conn.execute(sqlalchemy.insert(_PLACES).values(name=name, seq=seq, updated_at=now_ms))
    return seq


async def find(conn: AsyncConnection, name: str) -> int | None:
    query = sqlalchemy.select(_PLACES.c.seq).where(_PLACES.c.name == name)
    found: int | None = (await conn.execute(query)).scalar_one_or_none()
    return found


async def advance(conn: AsyncConnection, name: str, seq: int, now_ms: int) -> None:
    further = sqlalchemy.and_(_PLACES.c.name == name, _PLACES.c.seq < seq)
    await conn.execute(sqlalchemy.update(_PLACES).where(further).values(seq=seq, updated_at=now_ms))
