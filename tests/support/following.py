"""A directory that follows the store, and what it serves of a key."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import sqlalchemy as sa

from keys.changes import Author
from keys.directory import Directory
from storage import schema
from tests.support.custody import Room


@asynccontextmanager
async def running(followed: Directory) -> AsyncIterator[None]:
    task = asyncio.create_task(followed.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def loaded(room: Room, poll_ms: int = 250) -> Directory:
    made = room.directory(poll_ms=poll_ms)
    await made.load()
    return made


def states(followed: Directory, key_id: str) -> list[str]:
    key = followed.find(key_id)
    return [] if key is None else [version.state for version in key.versions]


async def set_state(room: Room, key_id: str, state: str, version: int = 1) -> None:
    """As a rotation would, without the rotation: rows and revision in one change."""
    async with room.changes.begin(Author("test")) as change:
        await change.conn.execute(
            sa.update(schema.secret_versions)
            .where(schema.secret_versions.c.secret_id == key_id, schema.secret_versions.c.version == version)
            .values(state=state)
        )
        await change.conn.execute(
            sa.update(schema.api_keys).where(schema.api_keys.c.id == key_id).values(revision=change.revision)
        )
        await change.record("test", key_id)
