"""Upstream credentials in their time: warned of when they grow old, activated, retired and destroyed when it is due.

Invariant: nothing here makes a version: whoever runs the upstream has to know it first. Each step looks again, in its
own transaction, whether it is due. A credential that was removed leaves versions, which lose their material as all
others do. What lies in AWS Secrets Manager has no versions here: nodes follow its labels, and nothing is due of it.
"""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from keys import due, register, upkeep, upstream_credentials, versions
from keys.changes import Author, Change, Changes, Clock
from keys.due import Action
from keys.schedules import Schedules
from keys.upstream_credentials import UpstreamCredentials
from storage import engine

_KINDS: Final[tuple[register.Kind, ...]] = ("upstream",)


class UpstreamUpkeep:
    def __init__(
        self,
        engine_: AsyncEngine,
        changes: Changes,
        clock: Clock,
        credentials: UpstreamCredentials,
        schedules: Schedules,
    ) -> None:
        self._engine = engine_
        self._changes = changes
        self._clock = clock
        self._credentials = credentials
        self._schedules = schedules

    async def due(self) -> tuple[Action, ...]:
        return await upkeep.find_due(self._engine, self._schedules, _KINDS, self._clock())

    async def plan(self, until_ms: int) -> tuple[Action, ...]:
        async with engine.reading(self._engine) as conn:
            found = await versions.list_all(conn, kind="upstream")
        return due.plan(found, self._schedules, self._clock(), until_ms)

    async def apply(self, action: Action, *, author: Author) -> bool:
        async def holds(change: Change) -> bool:
            secret = await versions.get(change.conn, action.secret_id)
            return due.is_due(secret, self._schedules, action, change.at)

        return await upkeep.take_if_due(lambda given: self._take(action, given), author, holds)

    async def _take(self, action: Action, author: Author) -> None:
        match action.step:
            case "activate":
                await self._credentials.activate(action.label, author=author)
            case "retire":
                await self._credentials.retire(action.label, action.version, author=author)
            case "destroy":
                async with self._changes.begin(author) as change:
                    secret = await versions.get(change.conn, action.secret_id)
                    await upstream_credentials.destroy_version(change, secret, action.version)
            case "warn":
                async with self._changes.begin(author) as change:
                    secret = await versions.get(change.conn, action.secret_id)
                    await upkeep.warn(change, secret, self._schedules)
            case "announce" | "rotate":
                raise upstream_credentials.NoPendingVersion(action.label)
