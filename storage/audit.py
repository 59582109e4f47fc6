"""The audit ledger: who did what to which thing, in the order in which it was committed.

Invariant: an event is appended in the transaction of the change it tells of, so neither exists without the
other. It is never changed or removed by this program, and carries no secret: the callers name what they
record.
"""

from __future__ import annotations

import sqlalchemy
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import schema

JSON = str | int | float | bool | list["JSON"] | dict[str, "JSON"] | None

_LEDGER = schema.audit_events


class AuditEvent(Struct, frozen=True):
    at: int
    actor: str
    action: str
    subject: str
    environment: str | None = None
    details: dict[str, JSON] = {}
    reason: str | None = None


class AuditEntry(Struct, frozen=True):
    """An event with its place in the ledger. Numbers grow; a rolled back transaction may leave one out."""

    seq: int
    event: AuditEvent


async def append(conn: AsyncConnection, event: AuditEvent) -> int:
    values = {name: getattr(event, name) for name in AuditEvent.__struct_fields__}
    statement = sqlalchemy.insert(_LEDGER).values(**values).returning(_LEDGER.c.seq)
    seq: int = (await conn.execute(statement)).scalar_one()
    return seq


async def tail(conn: AsyncConnection, limit: int) -> list[AuditEntry]:
    """The last entries, oldest first."""
    newest = sqlalchemy.select(_LEDGER).order_by(_LEDGER.c.seq.desc()).limit(limit)
    rows = (await conn.execute(newest)).mappings().all()
    return [_read(row) for row in reversed(rows)]


def _read(row: sqlalchemy.RowMapping) -> AuditEntry:
    event = AuditEvent(**{name: row[name] for name in AuditEvent.__struct_fields__})
    return AuditEntry(row["seq"], event)
