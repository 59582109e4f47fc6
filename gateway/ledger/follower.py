"""Follows the ledger into the sinks: each from its own place, at its own pace.

Invariant: a sink's place moves on only after it has delivered, so each entry reaches it at least once and in order;
one that fails holds up nothing but itself, and is tried again after a pause that grows. Whether this node is the one
to do it is asked before every step: two that do make duplicates, never gaps.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Final, Protocol

from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.ledger.sinks import Sink, SinkUnavailable
from keys.attempt import Attempt
from keys.changes import Clock
from storage import audit, consumers, engine

_LOG: Final = logging.getLogger("portreeve.ledger")
_BATCH: Final = 200
_LONGEST_PAUSE_S: Final = 30.0

Sleep = Callable[[float], Awaitable[None]]


class Lease(Protocol):
    """Whether the work of this name is this node's for now."""

    async def held(self, name: str) -> bool: ...


class Unshared:
    """For a node that is alone."""

    async def held(self, name: str) -> bool:  # noqa: ARG002  every work is its own
        return True


class Follower:
    def __init__(
        self, engine_: AsyncEngine, sink: Sink, clock: Clock, lease: Lease, *, from_start: bool
    ) -> None:
        self._engine = engine_
        self._sink = sink
        self._clock = clock
        self._lease = lease
        self._from_start = from_start
        self.name = f"sink:{sink.name}"
        self.behind = 0
        self.is_failing = False

    async def step(self) -> bool:
        """Delivers the next entries; whether there may be more of them at once."""
        place = await self._find_place()
        async with engine.reading(self._engine) as conn:
            self.behind = max(0, (await audit.head(conn))[0] - place)
        if not self.behind or not await self._lease.held(self.name):
            return False
        async with engine.reading(self._engine) as conn:
            entries = await audit.read_after(conn, place, _BATCH)
        if not entries or not await self._deliver(entries):
            return False
        async with engine.transaction(self._engine) as conn:
            await consumers.advance(conn, self.name, entries[-1].seq, self._clock())
        self.behind = max(0, self.behind - len(entries))
        return bool(self.behind)

    async def run(self, sleep: Sleep, poll_s: float) -> None:
        attempt = Attempt(f"the sink {self._sink.name} cannot be followed up; entries wait in the ledger")
        pause = poll_s
        while True:
            more = False

            async def advance() -> None:
                nonlocal more
                more = await self.step()

            went_well = await attempt.run(advance) and not self.is_failing
            pause = poll_s if went_well else min(2 * pause, _LONGEST_PAUSE_S)
            await sleep(0 if more else pause)

    async def _find_place(self) -> int:
        async with engine.reading(self._engine) as conn:
            found = await consumers.find(conn, self.name)
        if found is not None:
            return found
        async with engine.transaction(self._engine) as conn:
            return await consumers.register(conn, self.name, self._clock(), from_start=self._from_start)

    async def _deliver(self, entries: Sequence[audit.AuditEntry]) -> bool:
        try:
            await self._sink.deliver(entries)
        except SinkUnavailable as failure:
            if not self.is_failing:
                _LOG.warning("the sink %s takes nothing; entries wait: %s", self._sink.name, failure)
            self.is_failing = True
            return False
        if self.is_failing:
            _LOG.info("the sink %s takes entries again", self._sink.name)
        self.is_failing = False
        return True


class Followers:
    def __init__(  # noqa: PLR0913  what it reads, whom it tells, and its rhythm
        self,
        engine_: AsyncEngine,
        sinks: Sequence[tuple[Sink, bool]],
        clock: Clock,
        *,
        poll_ms: int = 1_000,
        lease: Lease | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._sinks = [sink for sink, _ in sinks]
        self._poll_s = poll_ms / 1000
        self._sleep = sleep
        shared = lease or Unshared()
        self._followers = [
            Follower(engine_, sink, clock, shared, from_start=from_start) for sink, from_start in sinks
        ]

    @property
    def behind(self) -> int:
        """Of the sink that is furthest behind: how many entries wait for it."""
        return max((follower.behind for follower in self._followers), default=0)

    @property
    def failing(self) -> int:
        return sum(follower.is_failing for follower in self._followers)

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for follower in self._followers:
                tasks.create_task(follower.run(self._sleep, self._poll_s))

    async def aclose(self) -> None:
        async with AsyncExitStack() as stack:
            for sink in self._sinks:
                stack.push_async_callback(sink.aclose)
