"""What all upkeep of secrets has in common: how what is due is found, looked at again, and warned of.

Invariant: a step that was due when somebody looked is taken only if it still is, which is asked in the transaction
that takes it, under the revision's lock and before anything is read for it: of any number who look at once one takes
it. Whoever comes late changes nothing, and that is no failure.
"""

from collections.abc import Awaitable, Callable, Iterable

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from keys import candidates, due, register, rotation_events, versions
from keys.changes import Author, Change, Condition
from keys.due import Action
from keys.held import HeldSecret
from keys.schedules import Schedules
from storage import engine

Holds = Callable[[Change], Awaitable[bool]]


class NotDue(Exception):
    """Somebody else was first, or said otherwise meanwhile."""


class StillDue(msgspec.Struct, frozen=True):
    """The condition that a scheduled change rests on, beside the one that its author brings."""

    holds: Holds
    beside: Condition | None = None

    async def require(self, change: Change) -> None:
        if self.beside is not None:
            await self.beside.require(change)
        if not await self.holds(change):
            raise NotDue

    async def settle(self, change: Change) -> None:
        if self.beside is not None:
            await self.beside.settle(change)


async def take_if_due(step: Callable[[Author], Awaitable[object]], author: Author, holds: Holds) -> bool:
    """Whether it was taken. `step`: one change, by the author that it is given."""
    condition = StillDue(holds, author.condition)
    try:
        await step(msgspec.structs.replace(author, condition=condition))
    except NotDue:
        return False
    return True


async def find_due(
    engine_: AsyncEngine, schedules: Schedules, kinds: Iterable[register.Kind], now_ms: int
) -> tuple[Action, ...]:
    """Of all secrets of these kinds."""
    wanted = candidates.select_ids(schedules, kinds, now_ms)
    async with engine.reading(engine_) as conn:
        found = await versions.list_all(conn, among=wanted)
    return due.due(found, schedules, now_ms)


async def warn(change: Change, secret: HeldSecret, schedules: Schedules) -> None:
    """Of every deadline at once: they share the note of when the last warning was."""
    for one in due.due((secret,), schedules, change.at):
        if one.step == "warn":
            details = {
                **rotation_events.told(secret, one.version),
                "ending": one.ending,
                "ends_at": one.ends_at,
            }
            await rotation_events.record(change, "secret.expiring", secret, details)
    await versions.note_warning(change, secret)
