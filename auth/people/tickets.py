"""Tickets: what is sent to somebody's address so that they can set a password. Inside the transaction it is given.

Invariant: a ticket has 256 random bits and is stored as its SHA-256; it is used once, whatever races, and before its
time is over; a newer one of its purpose ends those before it. Refused alike: what is unknown, used, replaced or late.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from auth.people.failures import TicketRefused
from keys.changes import Change
from keys.secret import Secret
from storage import schema

Purpose = Literal["invitation", "reset"]
BYTES: Final = 32
_TABLE: Final = schema.account_tickets


def draw(entropy: bytes) -> Secret:
    return Secret(base64.urlsafe_b64encode(entropy).rstrip(b"=").decode("ascii"))


async def issue(
    change: Change, ticket: Secret, account_id: str, *, purpose: Purpose, lifetime_ms: int
) -> None:
    await end_all(change, account_id, purpose)
    await change.conn.execute(
        sa.insert(_TABLE).values(
            digest=_digest(ticket.reveal()),
            account_id=account_id,
            purpose=purpose,
            created_at=change.at,
            expires_at=change.at + lifetime_ms,
        )
    )


async def end_all(change: Change, account_id: str, purpose: Purpose | None = None) -> None:
    open_ = sa.and_(_TABLE.c.account_id == account_id, _TABLE.c.used_at.is_(None))
    if purpose is not None:
        open_ = sa.and_(open_, _TABLE.c.purpose == purpose)
    await change.conn.execute(sa.update(_TABLE).where(open_).values(used_at=change.at))


async def get_account(conn: AsyncConnection, ticket: str, purpose: Purpose, now_ms: int) -> str:
    """Whose it is, while it is good."""
    query = sa.select(_TABLE.c.account_id).where(_is_good(ticket, purpose, now_ms))
    found: str | None = (await conn.execute(query)).scalar_one_or_none()
    if found is None:
        raise TicketRefused
    return found


async def use(change: Change, ticket: str, purpose: Purpose) -> None:
    """One statement: of any number of uses, one finds it unused."""
    using = sa.update(_TABLE).where(_is_good(ticket, purpose, change.at)).values(used_at=change.at)
    if (await change.conn.execute(using)).rowcount != 1:
        raise TicketRefused


async def forget(conn: AsyncConnection, before_ms: int) -> int:
    return (await conn.execute(sa.delete(_TABLE).where(_TABLE.c.expires_at < before_ms))).rowcount


def _is_good(ticket: str, purpose: Purpose, now_ms: int) -> sa.ColumnElement[bool]:
    return sa.and_(
        _TABLE.c.digest == _digest(ticket),
        _TABLE.c.purpose == purpose,
        _TABLE.c.used_at.is_(None),
        _TABLE.c.expires_at > now_ms,
    )


def _digest(ticket: str) -> str:
    return hashlib.sha256(ticket.encode("utf-8", "surrogatepass")).hexdigest()
