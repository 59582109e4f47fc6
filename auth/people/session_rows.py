"""The rows of sessions. Every function works inside the transaction it is given.

Invariant: what a browser presents is stored only as its SHA-256. A session's value changes whenever what it lets
somebody do grows, so whoever knew it before knows nothing. A session that has ended does not come back. A challenge is
taken once, whatever races.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from auth.oauth import grants
from auth.people import account_rows
from keys.changes import Change
from keys.secret import Secret
from storage import schema

TABLE: Final = schema.sessions
_ACCOUNTS: Final = schema.accounts
_LONGEST_AGENT: Final = 200
_LONGEST_SOURCE: Final = 64


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A row. `account` is None where nobody has said who they are."""

    digest: str
    id: str
    account_id: str | None
    state: str
    methods: tuple[str, ...]
    authenticated_at: int | None
    created_at: int
    seen_at: int
    expires_at: int
    ended_at: int | None
    source: str
    agent: str
    ceremony: str | None

    def __repr__(self) -> str:
        return f"Session({self.id!r})"


class Began(msgspec.Struct, frozen=True, kw_only=True):
    """Where a session comes from, as far as its owner is to be told."""

    source: str
    agent: str = ""


_COLUMNS: Final = tuple(TABLE.c[name] for name in Session.__struct_fields__)


def digest(cookie: Secret) -> str:
    return hashlib.sha256(cookie.reveal().encode("utf-8", "surrogatepass")).hexdigest()


async def find(conn: AsyncConnection, digest_: str) -> Session | None:
    row = (await conn.execute(sa.select(*_COLUMNS).where(TABLE.c.digest == digest_))).mappings().first()
    return None if row is None else _read(row)


async def list_living(conn: AsyncConnection, account_id: str, now_ms: int) -> list[Session]:
    """Newest first."""
    living = sa.and_(
        TABLE.c.account_id == account_id,
        TABLE.c.ended_at.is_(None),
        TABLE.c.expires_at > now_ms,
        TABLE.c.state == "signed-in",
    )
    query = sa.select(*_COLUMNS).where(living).order_by(TABLE.c.created_at.desc(), TABLE.c.id)
    return [_read(row) for row in (await conn.execute(query)).mappings()]


async def insert(conn: AsyncConnection, session: Session) -> None:
    fields = msgspec.structs.asdict(session)
    fields["methods"] = list(session.methods)
    fields["agent"] = session.agent[:_LONGEST_AGENT]
    fields["source"] = session.source[:_LONGEST_SOURCE]
    await conn.execute(sa.insert(TABLE).values(**fields))


async def replace(conn: AsyncConnection, before: Session, after: Session) -> bool:
    """The same session under another value. False where it has been replaced or ended meanwhile."""
    still = sa.and_(TABLE.c.digest == before.digest, TABLE.c.ended_at.is_(None))
    replaced = await conn.execute(
        sa.update(TABLE)
        .where(still)
        .values(
            digest=after.digest,
            account_id=after.account_id,
            state=after.state,
            methods=list(after.methods),
            authenticated_at=after.authenticated_at,
            seen_at=after.seen_at,
            expires_at=after.expires_at,
            ceremony=after.ceremony,
        )
    )
    return replaced.rowcount == 1


async def note_seen(conn: AsyncConnection, digest_: str, now_ms: int) -> None:
    newer = sa.and_(TABLE.c.digest == digest_, TABLE.c.ended_at.is_(None), TABLE.c.seen_at < now_ms)
    await conn.execute(sa.update(TABLE).where(newer).values(seen_at=now_ms))


async def set_ceremony(conn: AsyncConnection, digest_: str, ceremony: str) -> bool:
    still = sa.and_(TABLE.c.digest == digest_, TABLE.c.ended_at.is_(None))
    return (await conn.execute(sa.update(TABLE).where(still).values(ceremony=ceremony))).rowcount == 1


async def take_ceremony(conn: AsyncConnection, session: Session) -> bool:
    """One statement: a challenge is answered once, rightly or wrongly."""
    still = sa.and_(
        TABLE.c.digest == session.digest, TABLE.c.ended_at.is_(None), TABLE.c.ceremony == session.ceremony
    )
    return (await conn.execute(sa.update(TABLE).where(still).values(ceremony=None))).rowcount == 1


async def end(conn: AsyncConnection, digest_: str, now_ms: int) -> bool:
    living = sa.and_(TABLE.c.digest == digest_, TABLE.c.ended_at.is_(None))
    return (await conn.execute(_ended(now_ms).where(living))).rowcount == 1


async def end_own(conn: AsyncConnection, account_id: str, session_id: str, now_ms: int) -> bool:
    own = sa.and_(TABLE.c.id == session_id, TABLE.c.account_id == account_id, TABLE.c.ended_at.is_(None))
    return (await conn.execute(_ended(now_ms).where(own))).rowcount == 1


async def end_all(change: Change, account_id: str, *, but: str | None = None) -> int:
    """Every session of an account, half signed in or whole. `but`: the digest of one that goes on."""
    all_ = sa.and_(TABLE.c.account_id == account_id, TABLE.c.ended_at.is_(None))
    if but is not None:
        all_ = sa.and_(all_, TABLE.c.digest != but)
    return (await change.conn.execute(_ended(change.at).where(all_))).rowcount


async def sign_out_everywhere(change: Change, account_id: str, why: str) -> dict[str, int]:
    """Every session, and all that was ever allowed to clients in this account's name: what both came to."""
    sessions = await end_all(change, account_id)
    revoked = await grants.revoke_of_account(change, account_id, why)
    await account_rows.update(change, account_id, signed_out_at=change.at)
    return {"sessions": sessions, "grants": revoked}


async def forget(conn: AsyncConnection, before_ms: int) -> int:
    """Those that expired before: nobody is to be told of them any more."""
    return (await conn.execute(sa.delete(TABLE).where(TABLE.c.expires_at < before_ms))).rowcount


def _ended(now_ms: int) -> sa.Update:
    return sa.update(TABLE).values(ended_at=now_ms, ceremony=None)


def _read(row: sa.RowMapping) -> Session:
    fields = dict(row)
    fields["methods"] = tuple(fields["methods"])
    return Session(**fields)
