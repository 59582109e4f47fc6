"""The nodes that serve, as each says itself: which revision, since when, and whether it has all of it.

Invariant: all times here are the store's clock, so that those of several nodes compare with each other and with the
revision's. A receipt is no change: it bumps no revision and is in no ledger. Nobody's serving depends on one.
"""

from __future__ import annotations

from functools import cache

import sqlalchemy
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from storage import clock, revision, schema, upserts

_TABLE = schema.nodes


class Receipt(Struct, frozen=True, kw_only=True):
    """What a node says of itself. Ages are its own, from a clock that never steps; the store makes times of them.

    `committed_at`: when what it applied was committed, by the store's clock; None for what it found at its start.
    `incomplete`: how much of the revision it has not got whole: keys, and whoever else follows.
    """

    id: str
    host: str
    version: str
    surfaces: tuple[str, ...]
    started_ago_ms: int
    revision: int
    applied_ago_ms: int
    committed_at: int | None
    incomplete: int


class Node(Struct, frozen=True, kw_only=True):
    id: str
    host: str
    version: str
    surfaces: tuple[str, ...]
    started_at: int
    seen_at: int
    revision: int
    applied_at: int
    committed_at: int | None
    incomplete: int


class Roll(Struct, frozen=True):
    """All receipts at one moment, with the revision that was current then."""

    at: int
    latest: revision.Revision
    nodes: tuple[Node, ...]


async def report(conn: AsyncConnection, receipt: Receipt) -> None:
    fields = {f"told_{name}": getattr(receipt, name) for name in Receipt.__struct_fields__}
    fields["told_surfaces"] = ",".join(receipt.surfaces)
    await conn.execute(_reporting(conn.dialect.name), fields)


async def remove(conn: AsyncConnection, node_id: str) -> None:
    await conn.execute(sqlalchemy.delete(_TABLE).where(_TABLE.c.id == node_id))


async def prune(conn: AsyncConnection, unseen_ms: int) -> None:
    """Forget those that have said nothing for so long: they ended without a word."""
    silent = _TABLE.c.seen_at < clock.now_ms(conn.dialect.name) - unseen_ms
    await conn.execute(sqlalchemy.delete(_TABLE).where(silent))


async def read(conn: AsyncConnection) -> Roll:
    rows = (await conn.execute(sqlalchemy.select(_TABLE).order_by(_TABLE.c.id))).mappings().all()
    return Roll(await clock.read(conn), await revision.latest(conn), tuple(_read(row) for row in rows))


def _read(row: sqlalchemy.RowMapping) -> Node:
    return Node(**{**row, "surfaces": tuple(filter(None, row["surfaces"].split(",")))})


@cache
def _reporting(dialect: str) -> sqlalchemy.Executable:
    """Built once: nodes report every few seconds for as long as they serve."""
    now, told = clock.now_ms(dialect), sqlalchemy.bindparam
    statement = upserts.insert(_TABLE, dialect).values(
        id=told("told_id"),
        host=told("told_host"),
        version=told("told_version"),
        surfaces=told("told_surfaces"),
        started_at=now - told("told_started_ago_ms", type_=sqlalchemy.BigInteger),
        seen_at=now,
        revision=told("told_revision"),
        applied_at=now - told("told_applied_ago_ms", type_=sqlalchemy.BigInteger),
        committed_at=told("told_committed_at"),
        incomplete=told("told_incomplete"),
    )
    new = statement.excluded
    # When it applied a revision is said once; said again, it would waver by the way to the store.
    applied_at = sqlalchemy.case(
        (_TABLE.c.revision == new.revision, _TABLE.c.applied_at), else_=new.applied_at
    )
    changed = {name: new[name] for name in ("seen_at", "revision", "committed_at", "incomplete")}
    return statement.on_conflict_do_update(
        index_elements=[_TABLE.c.id], set_={**changed, "applied_at": applied_at}
    )
