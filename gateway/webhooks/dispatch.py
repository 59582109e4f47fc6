"""The worker that tells partners: one node at a time, many targets at once, none in the way of another.

Invariant: an attempt is counted and the next one set before anything is sent; a process that is killed in between has
lost nothing, and the partner may be told twice (the id says so), never not at all. At most `per_partner` attempts run
for one partner and `concurrency` for all. What cannot be done now (store or KMS away) leaves everything as it was.
A delivery ends when the target has it, when it says that it is gone, or after the last attempt, which is audited.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.webhooks import signing
from gateway.webhooks.outbox import Outbox
from gateway.webhooks.sending import Outcome
from keys import envelope, webhook_deliveries
from keys.attempt import Attempt
from keys.changes import Clock
from keys.secret import SecretBytes
from keys.webhooks import NoSigningSecret, Webhooks
from storage import engine

_JITTER: Final = 0.2
_PRUNE_EVERY_MS: Final = 3_600_000
_ENTROPY: Final = 4
_DAY_MS: Final = 86_400_000
_AT_THE_STORE: Final = 2


class Lease(Protocol):
    """Whether this node is the one that works now; asked again before each step, which also keeps it."""

    async def take(self) -> bool: ...


class Post(Protocol):
    async def post(self, url: str, headers: signing.Headers, body: bytes) -> Outcome: ...


class Alone:
    """For one node, and for as long as nobody gives out leases: claims alone keep two from one attempt."""

    async def take(self) -> bool:
        return True


class Plan(Struct, frozen=True, kw_only=True):
    """`retry_after_s`: how long after each failed attempt the next one is; after the last of them it is over.

    `hold_ms`: after which an attempt that nothing was heard of is made again. Longer than any attempt takes.
    """

    retry_after_s: tuple[int, ...]
    hold_ms: int
    poll_ms: int = 1_000
    concurrency: int = 64
    per_partner: int = 4
    disable_after: int = 5
    keep_days: int = 30


class Dispatch:
    def __init__(  # noqa: PLR0913, PLR0917  what it reads, by whom it sends, whose turn it is, and its rhythm
        self,
        engine_: AsyncEngine,
        webhooks: Webhooks,
        sender: Post,
        lease: Lease,
        clock: Clock,
        entropy: Callable[[int], bytes],
        plan: Plan,
    ) -> None:
        self._engine = engine_
        self._webhooks = webhooks
        self._sender = sender
        self._lease = lease
        self._clock = clock
        self._entropy = entropy
        self._plan = plan
        self._outbox = Outbox(engine_, clock, entropy)
        self._running: dict[str, asyncio.Task[object]] = {}
        self._partners: Counter[str] = Counter()
        self._freed = asyncio.Event()
        # Many attempts wait for targets, few at a time for the store: its connections are there for requests first.
        self._store = asyncio.Semaphore(_AT_THE_STORE)
        self._attempt = Attempt("a webhook cannot be delivered now; it stays in line")
        self._prune_at = 0

    async def run(self) -> None:
        """Until it is cancelled; what is on the way then is made again later, by whoever works then."""
        steps = Attempt("webhooks cannot be delivered now; they stay in line")
        try:
            while True:
                await steps.run(self.step)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._plan.poll_ms / 1000):
                        await self._freed.wait()
                self._freed.clear()
        finally:
            await self._stop()

    async def step(self) -> None:
        """Takes over what is new, and begins what is due. Waits for no target."""
        if not await self._lease.take():
            return
        if await self._outbox.take_over():
            await self._begin_due()
            await self._prune()

    async def settled(self) -> None:
        """Waits for the attempts that have begun."""
        await asyncio.gather(*self._running.values())

    async def _begin_due(self) -> None:
        if len(self._running) >= self._plan.concurrency:
            return
        async with engine.reading(self._engine) as conn:
            found = await webhook_deliveries.find_due(conn, self._clock(), self._plan.concurrency)
        for due in found:
            if len(self._running) < self._plan.concurrency:
                self._begin(due)

    def _begin(self, due: webhook_deliveries.Due) -> None:
        if due.id in self._running or self._partners[due.partner] >= self._plan.per_partner:
            return
        self._partners[due.partner] += 1
        task = asyncio.create_task(self._attempt.run(lambda: self._deliver(due)))
        self._running[due.id] = task
        task.add_done_callback(lambda _: self._free(due))

    def _free(self, due: webhook_deliveries.Due) -> None:
        del self._running[due.id]
        self._partners[due.partner] -= 1
        if not self._partners[due.partner]:
            del self._partners[due.partner]

    async def _deliver(self, due: webhook_deliveries.Due) -> None:
        async with self._store:
            # Before the attempt is counted: a KMS that is away is no fault of the partner's.
            keys = await self._find_keys(due.webhook)
            if not await self._claim(due):
                return
        outcome = Outcome(None, "no secret to sign with")
        if keys:
            body = due.body.encode()
            headers = signing.sign(keys, due.id, self._clock(), body)
            outcome = await self._sender.post(due.url, headers, body)
        async with self._store:
            await self._settle(due, outcome)
        # Now there is room for another, and the next step need not be waited for.
        self._freed.set()

    async def _claim(self, due: webhook_deliveries.Due) -> bool:
        async with engine.transaction(self._engine) as conn:
            again_at = self._clock() + self._plan.hold_ms
            return await webhook_deliveries.claim(conn, due, again_at=again_at)

    async def _find_keys(self, webhook_id: str) -> tuple[SecretBytes, ...]:
        try:
            return await self._webhooks.open_signing_keys(webhook_id)
        except (NoSigningSecret, envelope.EnvelopeRefused):
            return ()

    async def _settle(self, due: webhook_deliveries.Due, outcome: Outcome) -> None:
        attempt, status = due.attempts + 1, outcome.status
        if outcome.failure is None and status is not None:
            async with engine.transaction(self._engine) as conn:
                await webhook_deliveries.set_delivered(conn, due.id, attempt, status, self._clock())
        elif outcome.is_gone or attempt > len(self._plan.retry_after_s):
            await self._webhooks.give_up(
                due,
                status=status,
                failure=outcome.failure or "",
                is_gone=outcome.is_gone,
                disable_after=self._plan.disable_after,
            )
        else:
            again_at = self._clock() + self._delay_ms(attempt)
            async with engine.transaction(self._engine) as conn:
                await webhook_deliveries.set_failed(
                    conn, due.id, attempt, status=status, failure=outcome.failure or "", again_at=again_at
                )

    def _delay_ms(self, attempt: int) -> int:
        """Spread out, so that what failed together is not tried together again."""
        chance = int.from_bytes(self._entropy(_ENTROPY)) / 2 ** (8 * _ENTROPY)
        return int(self._plan.retry_after_s[attempt - 1] * 1000 * (1 + _JITTER * (2 * chance - 1)))

    async def _prune(self) -> None:
        now_ms = self._clock()
        if now_ms < self._prune_at:
            return
        async with engine.transaction(self._engine) as conn:
            await webhook_deliveries.prune(conn, now_ms - self._plan.keep_days * _DAY_MS)
        self._prune_at = now_ms + _PRUNE_EVERY_MS

    async def _stop(self) -> None:
        running = tuple(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
