"""What a change of a secret rests on, beside what else its author makes it rest on.

Invariant: both are decided in the change's own transaction, under the revision's lock, as every condition is.
"""

import msgspec
import sqlalchemy as sa

from keys import rotations, secret_pages
from keys.changes import Change, Condition
from keys.conditions import OnlyOnce
from storage import schema

_VERSIONS = schema.secret_versions


class AsSeen(msgspec.Struct, frozen=True):
    """The secret is as whoever decided about it has seen it: what its key may do, and which version waits."""

    secret_id: str
    revision: int
    other: Condition | None

    async def require(self, change: Change) -> None:
        if self.other is not None:
            await self.other.require(change)
        if await secret_pages.find_revision(change.conn, self.secret_id) not in {None, self.revision}:
            raise rotations.ChangedMeanwhile(f"{self.secret_id} has been changed meanwhile: look again")

    async def settle(self, change: Change) -> None:
        if self.other is not None:
            await self.other.settle(change)


class VersionOnce(msgspec.Struct, frozen=True):
    """`once`, remembering which version was made, and not only of which secret: see `parse`."""

    once: OnlyOnce

    async def require(self, change: Change) -> None:
        await self.once.require(change)

    async def settle(self, change: Change) -> None:
        change.recorded[:] = [
            (action, await _name_latest(change, subject) if action == self.once.action else subject)
            for action, subject in change.recorded
        ]
        await self.once.settle(change)


def parse(settled: str) -> tuple[str, int]:
    """The secret, and the version of it that the request made."""
    secret_id, _, number = settled.rpartition("#")
    return secret_id, int(number)


async def _name_latest(change: Change, secret_id: str) -> str:
    """What is made gets the next number, so in the transaction that made it, it has the highest."""
    latest = sa.select(sa.func.max(_VERSIONS.c.version)).where(_VERSIONS.c.secret_id == secret_id)
    return f"{secret_id}#{(await change.conn.execute(latest)).scalar_one()}"
