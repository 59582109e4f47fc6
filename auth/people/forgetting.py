"""Forgets sessions and links that have long been worth nothing, so that their tables hold what is of use.

Invariant: nothing that could still be presented, and be it only to be refused by name, is forgotten before its time.
Any number of nodes may do it at once. A store that is away is tried again later.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from auth.people import session_rows, tickets
from keys.changes import Clock
from storage import engine

_LOG: Final = logging.getLogger("portreeve.people")
_EVERY_S: Final = 3_600
_KEPT_MS: Final = 86_400_000


class Forgetting:
    def __init__(self, engine_: AsyncEngine, clock: Clock) -> None:
        self._engine = engine_
        self._clock = clock

    async def run(self) -> None:
        while True:
            try:
                await self.forget()
            except engine.StorageUnavailable as outage:
                _LOG.warning("old sessions are forgotten later: %s", outage)
            await asyncio.sleep(_EVERY_S)

    async def forget(self) -> int:
        before_ms = self._clock() - _KEPT_MS
        async with engine.transaction(self._engine) as conn:
            return await session_rows.forget(conn, before_ms) + await tickets.forget(conn, before_ms)
