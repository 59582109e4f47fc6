"""A store that was restored from a backup, and went its own way since: what came after the backup is not served."""

from __future__ import annotations

import logging

import pytest
import sqlalchemy as sa

from keys.changes import Author
from keys.directory import Directory
from storage import audit, engine, schema
from tests.support.custody import Room
from tests.support.following import loaded, states

OFFICER = Author("officer")


class Backup:
    """What the store was, as far as a node reads it. `lost` is the key that was made afterwards."""

    def __init__(self, revision: int, head: tuple[int, str]) -> None:
        self._revision, self._head = revision, head

    @classmethod
    async def take(cls, room: Room) -> Backup:
        async with engine.reading(room.engine) as conn:
            revision = (await conn.execute(sa.select(schema.revision.c.value))).scalar_one()
            return cls(revision, await audit.head(conn))

    async def restore(self, room: Room, *, without: str) -> None:
        seq, hash_ = self._head
        async with engine.transaction(room.engine) as conn:
            for table, column in ((schema.secret_versions, "secret_id"), (schema.api_keys, "id")):
                await conn.execute(sa.delete(table).where(table.c[column] == without))
            await conn.execute(sa.delete(schema.audit_events).where(schema.audit_events.c.seq > seq))
            await conn.execute(sa.update(schema.audit_head).values(seq=seq, hash=hash_))
            # Years ago: that it was changed then is all that is known of it.
            await conn.execute(sa.update(schema.revision).values(value=self._revision, changed_at=1))


async def restored(room: Room) -> tuple[Directory, str, str]:
    """A node that serves a key that the store no longer knows, beside one that it does."""
    kept = (await room.create_key()).key.id
    backup = await Backup.take(room)
    lost = (await room.create_key()).key.id
    followed = await loaded(room)
    await backup.restore(room, without=lost)
    return followed, kept, lost


async def revision_of(room: Room) -> int:
    async with engine.reading(room.engine) as conn:
        return int((await conn.execute(sa.select(schema.revision.c.value))).scalar_one())


@pytest.mark.parametrize("ahead", [-1, 0, 3], ids=["lower", "the same", "higher"])
async def test_whatever_its_revision_is_by_now_all_of_it_is_read_anew(
    room: Room, ahead: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A key of after the backup is served no longer, and what was made since the restoration is; the log tells."""
    followed, kept, lost = await restored(room)
    wanted, since = followed.revision + ahead, []
    while await revision_of(room) < wanted:
        since.append((await room.create_key()).key.id)
    assert await revision_of(room) == wanted
    with caplog.at_level(logging.WARNING, "portreeve.keys"):
        await followed.refresh()
    assert followed.find(lost) is None
    assert [states(followed, key_id) for key_id in (kept, *since)] == [["active"]] * (1 + len(since))
    assert len(followed) == 1 + len(since)
    assert followed.revision == wanted
    assert "was restored" in caplog.text


async def test_what_is_followed_afterwards_is_the_new_history(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    """It is read anew once, and from then on by what changes."""
    followed, kept, _ = await restored(room)
    await followed.refresh()
    served = followed.find(kept)
    caplog.clear()
    other = await room.create_key()
    await followed.refresh()
    assert followed.find(kept) is served
    assert states(followed, other.key.id) == ["active"]
    assert "was restored" not in caplog.text
