"""Does what is due: rotates, activates, retires, warns and destroys when its time has come, one node at a time.

Invariant: every action is a transaction of its own that looks again whether it is due, so that whoever else acts at the
same time, or died in the middle, leaves nothing half done and nothing done twice. The lease saves work and is not what
makes it right; but whoever's clock is wrong does nothing, since it would end and destroy versions before their time. A
failure of one action is told once and ends no other; it is tried again at the next turn.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from keys import kms, refusals
from keys.attempt import Attempt
from keys.changes import Author, Clock
from keys.due import Action
from storage import clock, engine

_LOG: Final = logging.getLogger("portreeve.keys")
_FORESEEN: Final = (engine.StorageUnavailable, kms.KmsUnavailable, kms.KmsRefused, refusals.Conflict)
AUTHOR: Final = Author("scheduler")
# Less than the least of the times that keep two versions of anything overlapping, and more than NTP leaves.
MOST_OFF_MS: Final = 10_000


class Upkeep(Protocol):
    """Secrets that know what is due of them. `plan` tells what would be due by then; `apply` answers whether the action
    was still due.
    """

    async def due(self) -> Sequence[Action]: ...

    async def plan(self, until_ms: int) -> Sequence[Action]: ...

    async def apply(self, action: Action, *, author: Author) -> bool: ...


class Lease(Protocol):
    """`take`: whether this node is the one, from now until the lease's end. An outage raises StorageUnavailable."""

    async def take(self) -> bool: ...


class Alone:
    """Nobody else is asked: for a command, and for whoever runs by itself."""

    async def take(self) -> bool:
        return True


class InTime:
    """A lease for whose clock agrees with the store's, by which all nodes can be measured; to others it is refused."""

    def __init__(self, lease: Lease, engine_: AsyncEngine, clock_: Clock) -> None:
        self._lease = lease
        self._engine = engine_
        self._clock = clock_
        self._told = False

    async def take(self) -> bool:
        return await self._agrees() and await self._lease.take()

    async def _agrees(self) -> bool:
        # Whoever waits for the answer is not out of time: it was given between the two.
        before = self._clock()
        async with engine.reading(self._engine) as conn:
            theirs = await clock.read(conn)
        agrees = before - MOST_OFF_MS <= theirs <= self._clock() + MOST_OFF_MS
        if not agrees and not self._told:
            _LOG.error(
                "this node's clock is %d ms off the store's: nothing is scheduled here", before - theirs
            )
        self._told = not agrees
        return agrees


class Outcome(msgspec.Struct, frozen=True):
    """What became of one action: done, or a failure by its name. An action that was not due any more leaves none."""

    action: Action
    failure: str | None


class Scheduler:
    def __init__(self, upkeep: Sequence[Upkeep], lease: Lease, every_ms: int) -> None:
        self._upkeep = tuple(upkeep)
        self._lease = lease
        self._every_s = every_ms / 1000
        self._told: set[str] = set()

    async def run(self, rest: Callable[[float], Any] = asyncio.sleep) -> None:
        """Until it is cancelled."""
        attempt = Attempt("what is due of secrets cannot be read; it is done later")
        while True:
            await attempt.run(self.turn)
            await rest(self._every_s)

    async def turn(self) -> tuple[Outcome, ...]:
        """Everything that is due now, where this node is the one to do it."""
        if not await self._lease.take():
            return ()
        outcomes = await run_due(self._upkeep, self._lease, author=AUTHOR)
        self._tell(outcomes)
        return outcomes

    def _tell(self, outcomes: Sequence[Outcome]) -> None:
        """Once for as long as it lasts: a failure comes again at every turn."""
        failing = {
            f"{one.action.step} of {one.action.secret_id}: {one.failure}"
            for one in outcomes
            if one.failure is not None
        }
        for complaint in sorted(failing - self._told):
            _LOG.warning("a scheduled %s; it is tried again", complaint)
        self._told = failing


async def run_due(
    upkeep: Sequence[Upkeep], lease: Lease | None = None, *, author: Author
) -> tuple[Outcome, ...]:
    """What is due now, each by itself. Ends early only when the lease is lost."""
    lease = Alone() if lease is None else lease
    outcomes: list[Outcome] = []
    for each in upkeep:
        for action in await each.due():
            if not await lease.take():
                return tuple(outcomes)
            outcomes += await _apply(each, action, author)
    return tuple(outcomes)


async def _apply(upkeep: Upkeep, action: Action, author: Author) -> list[Outcome]:
    try:
        done = await upkeep.apply(action, author=author)
    except Exception as failure:  # noqa: BLE001  the boundary between one action and the next
        if not isinstance(failure, _FORESEEN):
            _LOG.exception("a scheduled action failed")
        return [Outcome(action, type(failure).__name__)]
    return [Outcome(action, None)] if done else []
