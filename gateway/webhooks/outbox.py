"""From the ledger to deliveries: each entry is taken over once, for every webhook that is to be told.

Invariant: the deliveries and the reader's new place are one transaction, so whatever ends the process between two
steps, no entry is passed over and none is put in line twice. A ledger that has nothing new costs one reading and no
lock. Refuses nothing: an entry that no partner is told of is passed by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.webhooks import events
from keys import webhook_deliveries
from keys.changes import Clock
from keys.webhooks import CONSUMER
from storage import audit, consumers, engine, schema

_BATCH: Final = 200
_ID_ENTROPY: Final = 12
_HOOKS: Final = schema.webhooks
_PLACES: Final = schema.consumers


class Outbox:
    def __init__(
        self, engine_: AsyncEngine, clock: Clock, entropy: Callable[[int], bytes], *, batch: int = _BATCH
    ) -> None:
        self._engine = engine_
        self._clock = clock
        self._entropy = entropy
        self._batch = batch

    async def take_over(self) -> bool:
        """All that is new. False as long as there was never a webhook: then there is nothing to do at all."""
        while True:
            async with engine.reading(self._engine) as conn:
                place = await consumers.find(conn, CONSUMER)
                end, _ = await audit.head(conn)
            if place is None or place >= end:
                return place is not None
            async with engine.transaction(self._engine) as conn:
                await self._take_batch(conn)

    async def _take_batch(self, conn: AsyncConnection) -> None:
        # Another node may be at it: the place is read under its own lock, and not from before.
        await conn.execute(sa.select(_PLACES.c.seq).where(_PLACES.c.name == CONSUMER).with_for_update())
        place = await consumers.find(conn, CONSUMER)
        entries = [] if place is None else await audit.read_after(conn, place, self._batch)
        for entry in entries:
            event = events.read(entry)
            if event is not None:
                await self._put_in_line(conn, entry.seq, event)
        if entries:
            await consumers.advance(conn, CONSUMER, entries[-1].seq, self._clock())

    async def _put_in_line(self, conn: AsyncConnection, seq: int, event: events.Event) -> None:
        for webhook_id in await _find_subscribed(conn, event):
            await webhook_deliveries.insert(
                conn,
                delivery_id=f"msg_{self._entropy(_ID_ENTROPY).hex()}",
                webhook_id=webhook_id,
                seq=seq,
                event=event.type,
                body=event.body,
                now_ms=self._clock(),
            )


async def _find_subscribed(conn: AsyncConnection, event: events.Event) -> list[str]:
    """Only the partner's own, whatever else the entry says."""
    living = (
        _HOOKS.c.partner_id == event.partner,
        _HOOKS.c.removed_at.is_(None),
        _HOOKS.c.disabled_at.is_(None),
    )
    rows = await conn.execute(sa.select(_HOOKS.c.id, _HOOKS.c.events).where(*living).order_by(_HOOKS.c.id))
    if event.webhook is not None:
        return [webhook_id for webhook_id, _ in rows if webhook_id == event.webhook]
    return [webhook_id for webhook_id, subscribed in rows if event.type in subscribed]
