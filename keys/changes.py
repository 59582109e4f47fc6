"""The one way in which this room changes what is stored.

Invariant: rows, the new revision and at least one audit event are committed together or not at all; only
then is the wake-up sent, and its failure undoes nothing, because every node also polls. Changes are
serialised by the revision's row lock, which is taken first: what a change has read stays true until it
commits. What lets a change pass (an approval, an open break-glass) is spent in the change's own transaction, before
anything else is done in it. Refuses: a change that records nothing, unless it was abandoned, which takes back all of
it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keys import requests
from storage import audit, clock, engine, revision, wakeup

Clock = Callable[[], int]
# The store's own clock, asked over one of its connections: see `storage.clock`.
StoreClock = Callable[[AsyncConnection], Awaitable[int]]


class UnrecordedChange(RuntimeError):
    pass


class _Abandoned(Exception):
    pass


class Clearance(Protocol):
    """What lets a change pass that needs more than its author's word."""

    async def spend(self, change: "Change") -> None:
        """Inside the change's transaction, under the revision's lock; raises when it is good for nothing (any more)."""
        ...


class Condition(Protocol):
    """What whoever asks for a change makes it rest on, beyond the change's own rules (see `conditions`).

    Atomicity: both are asked inside the change's transaction, under the revision's lock. Failure: whatever either
    raises undoes the change, and is raised by it.
    """

    async def require(self, change: "Change") -> None:
        """Asked first, before anything is read for the change."""

    async def settle(self, change: "Change") -> None:
        """Told last, when all that the change does has been done and recorded."""


class Author(msgspec.Struct, frozen=True):
    """Who makes a change, and by what way it came: all of it but the last two is the ledger's to tell.

    `approval` is the id of the approval by which a second person let it pass; `clearance` is what makes that true.
    """

    actor: str
    reason: str | None = None
    source: str | None = None
    request_id: str | None = None
    approval: str | None = None
    clearance: Clearance | None = None
    condition: Condition | None = None

    def going_on(self) -> "Author":
        """The author of an operation's later transactions: its first one has spent the clearance."""
        return msgspec.structs.replace(self, clearance=None)


SYSTEM: Final = Author("system")


def person(account_id: str, source: str | None) -> Author:
    """As whoever has an account stands in the ledger, whatever they do there."""
    return Author(f"person:{account_id}", source=source)


class Change:
    """One open transaction, and what is the same for everything that is done in it."""

    def __init__(
        self, conn: AsyncConnection, revision_: int, at: int, author: Author, store_clock: StoreClock
    ) -> None:
        """`at` is the node's clock: what happens is dated by it, and nothing is let pass by it."""
        self.conn = conn
        self._store_clock = store_clock
        self.revision = revision_
        self.at = at
        self.author = author
        # What was recorded: each action with its subject.
        self.recorded: list[tuple[str, str]] = []
        self._abandoned = False

    async def now(self) -> int:
        """By the store's clock, which no node can put back: for what expires and lets something pass until then."""
        return await self._store_clock(self.conn)

    def abandon(self) -> None:
        """There was nothing to change: the transaction is rolled back at its end, without an error."""
        self._abandoned = True

    def require_recorded(self) -> None:
        if self._abandoned:
            raise _Abandoned
        if not self.recorded:
            raise UnrecordedChange("a change without an audit event is not committed")

    async def record(
        self,
        action: str,
        subject: str,
        *,
        environment: str | None = None,
        partner: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        event = audit.AuditEvent(
            at=self.at,
            revision=self.revision,
            action=action,
            subject=subject,
            environment=environment,
            partner=partner,
            details=dict(details or {}),
            actor=self.author.actor,
            reason=self.author.reason,
            source=self.author.source,
            request_id=self.author.request_id,
            approval=self.author.approval,
        )
        await audit.append(self.conn, event)
        self.recorded.append((action, subject))

    async def spend_clearance(self) -> None:
        if self.author.clearance is not None:
            await self.author.clearance.spend(self)
            # That it was spent is told, which is not yet what was done by it.
            self.recorded.clear()


class Changes:
    def __init__(
        self,
        engine_: AsyncEngine,
        wakeup_: wakeup.WakeUp,
        clock_: Clock,
        store_clock: StoreClock = clock.read,
    ) -> None:
        self._engine = engine_
        self._wakeup = wakeup_
        self._clock = clock_
        self._store_clock = store_clock

    async def now(self, conn: AsyncConnection) -> int:
        """By the store's clock: what a change would be judged by, for those who only look."""
        return await self._store_clock(conn)

    def now_ms(self) -> int:
        """The time that a change begun now would have."""
        return self._clock()

    @asynccontextmanager
    async def begin(self, author: Author) -> AsyncIterator[Change]:
        requests.check_reason(author.reason)
        try:
            async with engine.transaction(self._engine) as conn:
                change = Change(conn, await revision.bump(conn), self._clock(), author, self._store_clock)
                if author.condition is not None:
                    await author.condition.require(change)
                await change.spend_clearance()
                yield change
                change.require_recorded()
                if author.condition is not None:
                    await author.condition.settle(change)
        except _Abandoned:
            return
        await self._wakeup.announce(change.revision)
