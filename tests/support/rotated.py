"""What the tests of rotations ask of a room: its rows, its ledger, what it serves."""

from typing import Any

import sqlalchemy as sa

from keys.changes import Author
from keys.directory import ServedKey
from keys.schedules import DAY_MS
from keys.usage import Usage
from storage import engine, schema
from tests.support.custody import Room

OFFICER = Author("officer", "time to")
WEEK_MS = 7 * DAY_MS


async def events(room: Room) -> list[dict[str, Any]]:
    async with engine.reading(room.engine) as conn:
        table = schema.audit_events
        return [dict(row) for row in (await conn.execute(sa.select(table).order_by(table.c.seq))).mappings()]


async def rows(room: Room, key_id: str) -> list[dict[str, Any]]:
    table = schema.secret_versions
    query = sa.select(table).where(table.c.secret_id == key_id).order_by(table.c.version)
    async with engine.reading(room.engine) as conn:
        return [dict(row) for row in (await conn.execute(query)).mappings()]


async def states(room: Room, key_id: str) -> list[str]:
    return [row["state"] for row in await rows(room, key_id)]


async def used(room: Room, key_id: str, version: int, at: int, source: str = "198.51.100.7") -> None:
    noted = Usage()
    noted.note(key_id, version, source, at)
    await noted.flush(room.engine)


async def served(room: Room, key_id: str) -> ServedKey:
    directory = room.directory()
    await directory.load()
    found = directory.find(key_id)
    assert found is not None
    return found
