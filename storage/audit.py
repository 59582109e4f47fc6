"""The audit ledger: who did what to which thing, in the order in which it was committed.

Invariant: an event is appended in the transaction of the change it tells of, so neither exists without the
other. Entries are numbered without gaps and chained (see `chain`); both are safe because every writer holds the
revision's lock. The ledger is never changed or removed by this program, and carries no secret: the callers name
what they record.
"""

from __future__ import annotations

import sqlalchemy
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import chain, schema

JSON = str | int | bool | list["JSON"] | dict[str, "JSON"] | None

_LEDGER = schema.audit_events


class AuditEvent(Struct, frozen=True, kw_only=True):
    """`source`: the address it came from. `approval`: the id of the approval that let it pass."""

    at: int
    revision: int
    actor: str
    action: str
    subject: str
    environment: str | None = None
    partner: str | None = None
    details: dict[str, JSON] = {}
    reason: str | None = None
    source: str | None = None
    request_id: str | None = None
    approval: str | None = None


class AuditEntry(Struct, frozen=True):
    """An event with its place in the ledger."""

    seq: int
    event: AuditEvent
    previous: str
    hash: str


async def append(conn: AsyncConnection, event: AuditEvent) -> AuditEntry:
    seq, previous = await head(conn)
    linked = {name: getattr(event, name) for name in AuditEvent.__struct_fields__}
    linked |= {"seq": seq + 1, "previous": previous}
    entry = AuditEntry(seq + 1, event, previous, chain.link(linked))
    await conn.execute(sqlalchemy.insert(_LEDGER).values(**linked, hash=entry.hash))
    await conn.execute(sqlalchemy.update(schema.audit_head).values(seq=entry.seq, hash=entry.hash))
    return entry


async def head(conn: AsyncConnection) -> tuple[int, str]:
    """The number and the hash of the last entry."""
    row = (await conn.execute(sqlalchemy.select(schema.audit_head))).one()
    return row.seq, row.hash


async def tail(conn: AsyncConnection, limit: int) -> list[AuditEntry]:
    """The last entries, oldest first."""
    newest = sqlalchemy.select(_LEDGER).order_by(_LEDGER.c.seq.desc()).limit(limit)
    rows = (await conn.execute(newest)).mappings().all()
    return [_read(row) for row in reversed(rows)]


async def read_after(conn: AsyncConnection, seq: int, limit: int) -> list[AuditEntry]:
    """The next entries, in order."""
    following = sqlalchemy.select(_LEDGER).where(_LEDGER.c.seq > seq).order_by(_LEDGER.c.seq).limit(limit)
    return [_read(row) for row in (await conn.execute(following)).mappings()]


def _read(row: sqlalchemy.RowMapping) -> AuditEntry:
    event = AuditEvent(**{name: row[name] for name in AuditEvent.__struct_fields__})
    return AuditEntry(row["seq"], event, row["previous"], row["hash"])
