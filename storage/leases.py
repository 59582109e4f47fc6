"""Leases: what one node at a time may do, until it lets go or its time is over.

Invariant: at any moment by the store's clock at most one holder has a lease; who takes it is decided in one
statement. A lease ends by itself, so a holder that died or hangs blocks nobody for longer than the lease lasts. Whoever
works under one takes it again well before it ends, counts its time from before it asked, and stops when it is
refused: the lease may by then be another's.
Refuses: nothing; whether it was taken is the answer. An outage leaves as StorageUnavailable, and is no lease.
"""

from __future__ import annotations

import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import clock, engine, schema, upserts

_TABLE = schema.leases


class Lease:
    """`holder` must be no other process's name: two that share one would both hold the lease."""

    def __init__(self, engine_: AsyncEngine, name: str, holder: str, ttl_ms: int) -> None:
        self._engine = engine_
        self._name = name
        self._holder = holder
        self._statement = self._take(engine_.dialect.name, ttl_ms)

    async def take(self) -> bool:
        """Take it, or keep it for as long again. False: another holds it, or has held it since."""
        async with engine.transaction(self._engine) as conn:
            return (await conn.execute(self._statement)).first() is not None

    async def release(self) -> None:
        """Let the next one have it at once; what is another's stays so."""
        own = sqlalchemy.and_(_TABLE.c.name == self._name, _TABLE.c.holder == self._holder)
        async with engine.transaction(self._engine) as conn:
            await conn.execute(sqlalchemy.delete(_TABLE).where(own))

    def _take(self, dialect: str, ttl_ms: int) -> sqlalchemy.Executable:
        now = clock.now_ms(dialect)
        free = sqlalchemy.or_(_TABLE.c.holder == self._holder, _TABLE.c.expires_at <= now)
        wanted = {"holder": self._holder, "expires_at": now + ttl_ms}
        # The row is locked before the condition is looked at: of two that find it free, the second finds it taken.
        return (
            upserts.insert(_TABLE, dialect)
            .values(name=self._name, **wanted)
            .on_conflict_do_update(index_elements=[_TABLE.c.name], set_=wanted, where=free)
            .returning(_TABLE.c.name)
        )


class Leases:
    """All that one holder does for the others, each by its name."""

    def __init__(self, engine_: AsyncEngine, holder: str, ttl_ms: int) -> None:
        self._engine = engine_
        self._holder = holder
        self._ttl_ms = ttl_ms
        self._named: dict[str, Lease] = {}

    def named(self, name: str) -> Lease:
        if name not in self._named:
            self._named[name] = Lease(self._engine, name, self._holder, self._ttl_ms)
        return self._named[name]

    async def held(self, name: str) -> bool:
        return await self.named(name).take()

    async def release(self) -> None:
        for lease in self._named.values():
            await lease.release()
