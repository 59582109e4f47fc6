"""Break-glass: one person acts without a second one, for a short while, and everybody hears of it.

Invariant: it is open for whoever opened it and nobody else, from a moment to a moment that is fixed when it is opened;
it cannot be prolonged, only closed, and closes by itself. That it is open is checked in the transaction of each change
made under it, and each of them names it in the ledger. Opening and closing are in the ledger, too. Its times are the
store's clock, so that no node with a wrong one prolongs it.
Refuses: to open one without a reason, or a second one while the first is open.
"""

import base64
from collections.abc import Callable
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keys import refusals, requests
from keys.changes import Author, Change, Changes
from storage import engine, schema

MARK: Final = "break-glass:"
ID_ENTROPY: Final = 10
_TABLE: Final = schema.break_glass


class BreakGlassClosed(refusals.Conflict):
    def __init__(self) -> None:
        super().__init__("no break-glass of yours is open")


class BreakGlassOpen(refusals.Conflict):
    def __init__(self, glass_id: str) -> None:
        super().__init__(f"{glass_id} of yours is open: it cannot be prolonged, only closed")


class BreakGlassOver(refusals.Conflict):
    def __init__(self, glass_id: str) -> None:
        super().__init__(f"{glass_id} is over")


class UnknownBreakGlass(refusals.NotFound):
    def __init__(self, glass_id: str) -> None:
        super().__init__(f"there is no break-glass {glass_id!r:.80}")


class ReasonMissing(requests.InvalidReason):
    def __init__(self) -> None:
        super().__init__("to act without a second person, say why")


class Glass(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    opened_by: str
    opened_at: int
    expires_at: int
    reason: str
    closed_at: int | None = None
    closed_by: str | None = None


_SELECT: Final = sa.select(*(_TABLE.c[name] for name in Glass.__struct_fields__))


class UnderGlass(msgspec.Struct, frozen=True):
    """The clearance of a change that is made under break-glass: see `changes.Clearance`."""

    glass: str

    async def spend(self, change: Change) -> None:
        found = await _find_open(change.conn, change.author.actor, await change.now())
        if found is None or found.id != self.glass:
            raise BreakGlassClosed


class BreakGlass:
    def __init__(self, engine_: AsyncEngine, changes: Changes, entropy: Callable[[int], bytes]) -> None:
        self._engine = engine_
        self._changes = changes
        self._entropy = entropy

    async def open(self, length_ms: int, *, author: Author) -> Glass:
        reason = author.reason
        if reason is None:
            raise ReasonMissing
        async with self._changes.begin(author) as change:
            now_ms = await change.now()
            found = await _find_open(change.conn, author.actor, now_ms)
            if found is not None:
                raise BreakGlassOpen(found.id)
            glass = Glass(
                id="brg_" + base64.b32encode(self._entropy(ID_ENTROPY)).decode().lower(),
                opened_by=author.actor,
                opened_at=now_ms,
                expires_at=now_ms + length_ms,
                reason=reason,
            )
            await change.conn.execute(sa.insert(_TABLE).values(**msgspec.structs.asdict(glass)))
            await change.record("break-glass.opened", glass.id, details={"expires_at": glass.expires_at})
        return glass

    async def close(self, glass_id: str, *, author: Author) -> Glass:
        async with self._changes.begin(author) as change:
            now_ms = await change.now()
            found = await self._get_open(change.conn, glass_id, now_ms)
            closed = msgspec.structs.replace(found, closed_at=now_ms, closed_by=author.actor)
            await change.conn.execute(
                sa.update(_TABLE)
                .where(_TABLE.c.id == glass_id)
                .values(closed_at=closed.closed_at, closed_by=closed.closed_by)
            )
            await change.record("break-glass.closed", glass_id, details={"opened_by": found.opened_by})
        return closed

    async def get(self, glass_id: str) -> Glass:
        """Whether it is open or not."""
        async with engine.reading(self._engine) as conn:
            return await _get(conn, glass_id)

    async def find_own(self, actor: str) -> Glass | None:
        async with engine.reading(self._engine) as conn:
            return await _find_open(conn, actor, await self._changes.now(conn))

    async def find_all_open(self) -> list[Glass]:
        async with engine.reading(self._engine) as conn:
            return await _list_open(conn, await self._changes.now(conn))

    @staticmethod
    async def _get_open(conn: AsyncConnection, glass_id: str, now_ms: int) -> Glass:
        glass = await _get(conn, glass_id)
        if glass.closed_at is not None or glass.expires_at <= now_ms:
            raise BreakGlassOver(glass_id)
        return glass


async def _get(conn: AsyncConnection, glass_id: str) -> Glass:
    row = (await conn.execute(_SELECT.where(_TABLE.c.id == glass_id))).mappings().first()
    if row is None:
        raise UnknownBreakGlass(glass_id)
    return Glass(**row)


async def _find_open(conn: AsyncConnection, actor: str, now_ms: int) -> Glass | None:
    for glass in await _list_open(conn, now_ms):
        if glass.opened_by == actor:
            return glass
    return None


async def _list_open(conn: AsyncConnection, now_ms: int) -> list[Glass]:
    is_open = sa.and_(_TABLE.c.closed_at.is_(None), _TABLE.c.expires_at > now_ms)
    query = _SELECT.where(is_open).order_by(_TABLE.c.opened_at, _TABLE.c.id)
    return [Glass(**row) for row in (await conn.execute(query)).mappings()]
