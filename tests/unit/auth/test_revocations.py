"""What was revoked, as nodes follow it: at once, for as long as it matters, and through a restored store."""

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from auth.oauth.revocations import ServedRevocations
from keys.changes import Author
from storage import engine as storage_engine
from storage import schema
from tests.support import custody, oauth_clients
from tests.support.custody import Room

BY = Author("operator")
HOUR_MS = 3_600_000


@pytest.fixture
async def room(engine: AsyncEngine) -> Room:
    """With one partner, `acme`."""
    made = custody.build_room(engine)
    await made.custody.create_partner("acme", "Acme Trading", "standard", author=BY)
    return made


async def revoke_token(room: Room, jti: str, *, lives_ms: int = 300_000) -> None:
    async with room.changes.begin(BY) as change:
        row = {"jti": jti, "client_id": "c", "expires_at": change.at + lives_ms, "revision": change.revision}
        await change.conn.execute(sa.insert(schema.oauth_revoked_tokens).values(**row))
        await change.record("access_token.revoked", "c")


async def make_grant(room: Room, grant: str) -> None:
    client = await oauth_clients.made(room.oauth_clients)
    async with room.changes.begin(BY) as change:
        row = {
            "id": grant,
            "client_id": client.id,
            "account_id": "a",
            "partner_id": "acme",
            "roles": ["viewer"],
            "scope": "orders:read",
            "resource": "https://gateway.example",
            "authenticated_at": change.at,
            "methods": ["pwd"],
            "created_at": change.at,
            "expires_at": change.at + 30 * 24 * HOUR_MS,
            "revision": change.revision,
        }
        await change.conn.execute(sa.insert(schema.oauth_grants).values(**row))
        await change.record("grant.made", grant)


async def revoke_grant(room: Room, grant: str) -> None:
    async with room.changes.begin(BY) as change:
        table = schema.oauth_grants
        values = {"revoked_at": change.at, "revision": change.revision}
        await change.conn.execute(sa.update(table).where(table.c.id == grant).values(**values))
        await change.record("grant.revoked", grant)


async def test_what_was_revoked_is_served_and_what_was_not_is_not(room: Room) -> None:
    """Tokens by their id, and all tokens of what a person took back."""
    served = ServedRevocations(room.engine, room.clock)
    await make_grant(room, "grant-1")
    await served.refresh()
    assert not served.revoked("one", "grant-1")
    await revoke_token(room, "one")
    await revoke_grant(room, "grant-1")
    await served.refresh()
    assert served.revoked("one", None)
    assert served.revoked("other", "grant-1")
    assert not served.revoked("other", None)
    assert not served.revoked("other", "grant-2")


async def test_a_node_that_starts_knows_what_was_revoked_before(room: Room) -> None:
    """It reads all of it, and not only what changes from then on."""
    await make_grant(room, "grant-1")
    await revoke_token(room, "one")
    await revoke_grant(room, "grant-1")
    served = ServedRevocations(room.engine, room.clock)
    await served.refresh()
    assert served.revoked("one", None)
    assert served.revoked("x", "grant-1")


async def test_the_directory_brings_it_with_the_next_revision(room: Room) -> None:
    """Among the directory's companions, it is asked whenever the store has changed."""
    served = ServedRevocations(room.engine, room.clock)
    directory = room.directory(companions=(served,))
    await directory.load()
    await revoke_token(room, "one")
    await directory.refresh()
    await directory._catch_up()
    assert served.revoked("one", None)


async def test_what_cannot_be_presented_any_more_is_forgotten(room: Room) -> None:
    """But not before every token of it has expired, whatever clocks say."""
    served = ServedRevocations(room.engine, room.clock)
    await make_grant(room, "grant-1")
    await revoke_token(room, "one")
    await revoke_grant(room, "grant-1")
    await served.refresh()
    room.clock.now_ms += HOUR_MS - 1
    await revoke_token(room, "two")
    await served.refresh()
    assert len(served) == 3
    room.clock.now_ms += 600_000
    await revoke_token(room, "three")
    await served.refresh()
    assert served.revoked("two", None)
    assert len(served) == 2


async def test_a_restored_store_is_read_anew(room: Room) -> None:
    """What a backup does not know of is not revoked, also where its revision is as high by now."""
    await revoke_token(room, "before")
    await revoke_token(room, "lost")
    served = ServedRevocations(room.engine, room.clock)
    await served.refresh()
    assert served.revoked("lost", None)
    events = schema.audit_events
    async with storage_engine.transaction(room.engine) as conn:
        revoked = schema.oauth_revoked_tokens
        await conn.execute(sa.delete(revoked).where(revoked.c.jti == "lost"))
        head = events.c.seq == sa.select(sa.func.max(events.c.seq)).scalar_subquery()
        await conn.execute(sa.update(events).where(head).values(hash="0" * 64))
    await revoke_token(room, "later")
    await served.refresh()
    assert not served.revoked("lost", None)
    assert served.revoked("before", None)
    assert served.revoked("later", None)


async def test_an_outage_leaves_what_is_known(room: Room) -> None:
    """A store that cannot be asked un-revokes nothing."""
    await revoke_token(room, "one")
    served = ServedRevocations(room.engine, room.clock)
    await served.refresh()
    dead = storage_engine.open_engine("postgresql://nobody@127.0.0.1:1/none", password="none")
    served._engine = dead
    with pytest.raises(storage_engine.StorageUnavailable):
        await served.refresh()
    await dead.dispose()
    assert served.revoked("one", None)
