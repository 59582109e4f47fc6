"""The store's own clock, as an expression of its SQL: what several nodes have to agree on is dated by it.

Invariant: Unix milliseconds of the moment at which the statement runs, not of when its transaction began.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncConnection

_NOW_MS: Final = {
    "postgresql": "CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT)",
    # In days since noon long ago. `unixepoch('subsec')` would say it in one word, but needs a newer library.
    "sqlite": "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)",
}


def now_ms(dialect: str) -> sqlalchemy.ColumnElement[int]:
    return sqlalchemy.literal_column(_NOW_MS[dialect], sqlalchemy.BigInteger)


async def read(conn: AsyncConnection) -> int:
    found: int = (await conn.execute(sqlalchemy.select(now_ms(conn.dialect.name)))).scalar_one()
    return found
