"""The audit ledger: who did what to which thing, in the order in which it was committed.

Invariant: an event is appended in the transaction of the change it tells of, so neither exists without the
other. Entries are numbered without gaps and chained (see `chain`); both are safe because every writer holds the
revision's lock. The ledger is never changed or removed by this program, and carries no secret: the callers name
what they record. Refuses what would not come back as it was recorded, or would read differently elsewhere:
fractions, numbers past 2^53, bytes, values of our own types, and characters that a store or UTF-8 cannot hold.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import chain, schema

JSON = str | int | bool | list["JSON"] | dict[str, "JSON"] | None

_LEDGER = schema.audit_events
# What every reader of JSON can hold: some know no other numbers than floating ones.
_LARGEST: Final = 2**53 - 1
_DEEPEST: Final = 16


class UnrecordableEvent(ValueError):
    """Names the place of what cannot be recorded, and not the value, which may be a secret."""


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

    @property
    def place(self) -> chain.Place:
        return chain.Place(self.seq, self.hash)

    def members(self) -> dict[str, Any]:
        """The entry as it is linked and exported: flat, its hash among them."""
        said = {name: getattr(self.event, name) for name in AuditEvent.__struct_fields__}
        return said | {"seq": self.seq, "previous": self.previous, "hash": self.hash}


class Search(Struct, frozen=True, kw_only=True):
    """What an entry has to be to be found. `action` is a beginning, `text` any part of the reason."""

    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    partner: str | None = None
    environment: str | None = None
    since: int | None = None
    until: int | None = None
    text: str | None = None


async def append(conn: AsyncConnection, event: AuditEvent) -> AuditEntry:
    linked = {name: getattr(event, name) for name in AuditEvent.__struct_fields__}
    _require_recordable(linked)
    seq, previous = await head(conn)
    linked |= {"seq": seq + 1, "previous": previous}
    entry = AuditEntry(seq + 1, event, previous, chain.link(linked))
    await conn.execute(sqlalchemy.insert(_LEDGER).values(**linked, hash=entry.hash))
    await conn.execute(sqlalchemy.update(schema.audit_head).values(seq=entry.seq, hash=entry.hash))
    return entry


async def head(conn: AsyncConnection) -> tuple[int, str]:
    """The number and the hash of the last entry."""
    row = (await conn.execute(sqlalchemy.select(schema.audit_head))).one()
    return row.seq, row.hash


async def holds(conn: AsyncConnection, place: chain.Place) -> bool:
    """The ledger came by that place: whatever was read there belongs to its history."""
    found = await conn.execute(sqlalchemy.select(_LEDGER.c.hash).where(_LEDGER.c.seq == place.seq))
    return place == chain.START or found.scalar_one_or_none() == place.hash


async def tail(conn: AsyncConnection, limit: int) -> list[AuditEntry]:
    """The last entries, oldest first."""
    return (await search(conn, Search(), limit=limit))[::-1]


async def read_after(conn: AsyncConnection, seq: int, limit: int) -> list[AuditEntry]:
    """The next entries, in order."""
    following = sqlalchemy.select(_LEDGER).where(_LEDGER.c.seq > seq).order_by(_LEDGER.c.seq).limit(limit)
    return [_read(row) for row in (await conn.execute(following)).mappings()]


async def find_since(conn: AsyncConnection, at: int) -> int | None:
    """The number of the first entry that is not older."""
    query = sqlalchemy.select(sqlalchemy.func.min(_LEDGER.c.seq)).where(_LEDGER.c.at >= at)
    found: int | None = (await conn.execute(query)).scalar_one()
    return found


async def search(
    conn: AsyncConnection, wanted: Search, *, before: int | None = None, limit: int = 100
) -> list[AuditEntry]:
    """The newest first; `before` is the number of the last one that was seen."""
    conditions = _conditions(wanted)
    if before is not None:
        conditions.append(_LEDGER.c.seq < before)
    query = sqlalchemy.select(_LEDGER).where(*conditions).order_by(_LEDGER.c.seq.desc()).limit(limit)
    return [_read(row) for row in (await conn.execute(query)).mappings()]


def _conditions(wanted: Search) -> list[sqlalchemy.ColumnElement[bool]]:
    conditions: list[sqlalchemy.ColumnElement[bool]] = [
        _LEDGER.c[name] == getattr(wanted, name)
        for name in ("actor", "subject", "partner", "environment")
        if getattr(wanted, name) is not None
    ]
    if wanted.action is not None:
        # Not LIKE, which tells capitals apart on one store and not on the other.
        beginning = sqlalchemy.func.substr(_LEDGER.c.action, 1, len(wanted.action))
        conditions.append(beginning == wanted.action)
    if wanted.since is not None:
        conditions.append(_LEDGER.c.at >= wanted.since)
    if wanted.until is not None:
        conditions.append(_LEDGER.c.at < wanted.until)
    if wanted.text is not None:
        conditions.append(_LEDGER.c.reason.icontains(wanted.text, autoescape=True))
    return conditions


def _require_recordable(members: dict[str, Any]) -> None:
    for name, value in members.items():
        _require_json(value, name, _DEEPEST)


def _require_json(value: object, place: str, deeper: int) -> None:
    # The very types: a subclass may say more than its text, and a secret may be one.
    match value:
        case None:
            return
        case _ if type(value) is bool:
            return
        case int() if type(value) is int and abs(value) <= _LARGEST:
            return
        case str() if type(value) is str:
            _require_text(value, place)
        # A tuple is written as a list is.
        case list() | tuple() if deeper and type(value) in {list, tuple}:
            for index, item in enumerate(value):
                _require_json(item, f"{place}[{index}]", deeper - 1)
        case dict() if deeper and type(value) is dict:
            for name, item in value.items():
                if type(name) is not str:
                    raise UnrecordableEvent(f"{place} has a member whose name is no text")
                _require_text(name, place)
                _require_json(item, f"{place}.{name}", deeper - 1)
        case _:
            raise UnrecordableEvent(f"{place} is no value that the ledger records: {type(value).__name__}")


def _require_text(text: str, place: str) -> None:
    # PostgreSQL has no NUL, and half of a surrogate pair has no UTF-8.
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise UnrecordableEvent(f"{place} holds a character that cannot be stored")


def _read(row: sqlalchemy.RowMapping) -> AuditEntry:
    event = AuditEvent(**{name: row[name] for name in AuditEvent.__struct_fields__})
    return AuditEntry(row["seq"], event, row["previous"], row["hash"])
