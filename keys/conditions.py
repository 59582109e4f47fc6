"""What a change may be made to rest on: that nothing has changed meanwhile, or that it is made only once.

Invariant: both are decided under the revision's lock, in the change's own transaction: of any number of askers at once
exactly one is let through. A request that was settled is remembered with the change that settled it or not at all, for
a day, and never with anything secret: only what it made is kept, by its id.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from keys import refusals
from keys.changes import Change
from storage import schema

REMEMBERED_MS: Final = 24 * 3_600_000
# What scanners have reported stands among what is settled, and is remembered for longer.
OF_SCANNERS: Final = "scanner:"

_SETTLED: Final = schema.settled_requests

FindRevision = Callable[[AsyncConnection], Awaitable[int | None]]


class ChangedMeanwhile(refusals.Conflict):
    """It is no longer as whoever asks has seen it."""

    def __init__(self) -> None:
        super().__init__("it has been changed since it was read")


class RequestDiffers(refusals.Conflict):
    """The same name for two different requests."""

    def __init__(self) -> None:
        super().__init__("another request was made under this idempotency key")


class AlreadySettled(refusals.Conflict):
    """The same request was made before, and made `subject`."""

    def __init__(self, subject: str) -> None:
        super().__init__("the request was made before")
        self.subject = subject


class Unchanged(msgspec.Struct, frozen=True):
    """Only as long as its revision is one of these."""

    find_revision: FindRevision
    expected: frozenset[int]

    async def require(self, change: Change) -> None:
        found = await self.find_revision(change.conn)
        if found is not None and found not in self.expected:
            raise ChangedMeanwhile

    async def settle(self, change: Change) -> None:
        pass


class OnlyOnce(msgspec.Struct, frozen=True):
    """Once for each caller and key. `action` is what the change records when it does what was asked for."""

    caller: str
    key: str
    digest: str
    action: str

    async def require(self, change: Change) -> None:
        subject = await self.find_settled(change.conn, change.at)
        if subject is not None:
            raise AlreadySettled(subject)

    async def settle(self, change: Change) -> None:
        subjects = [subject for action, subject in change.recorded if action == self.action]
        if not subjects:
            # Something else was done instead, such as asking for an approval: that may be asked again.
            return
        await change.conn.execute(
            sa.delete(_SETTLED).where(
                _SETTLED.c.created_at <= change.at - REMEMBERED_MS,
                ~_SETTLED.c.caller.startswith(OF_SCANNERS, autoescape=True),
            )
        )
        row = {"caller": self.caller, "key": self.key, "digest": self.digest, "created_at": change.at}
        await change.conn.execute(sa.insert(_SETTLED).values(subject=subjects[0], **row))

    async def find_settled(self, conn: AsyncConnection, at: int) -> str | None:
        query = sa.select(_SETTLED.c.digest, _SETTLED.c.subject).where(
            _SETTLED.c.caller == self.caller,
            _SETTLED.c.key == self.key,
            _SETTLED.c.created_at > at - REMEMBERED_MS,
        )
        row = (await conn.execute(query)).first()
        if row is None:
            return None
        if row.digest != self.digest:
            raise RequestDiffers
        subject: str = row.subject
        return subject
