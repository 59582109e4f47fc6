"""Rewrapping: sees to it that every data key is wrapped by the KMS keys that are configured now.

Invariant: a new wrapping is stored only after it was opened again and found to hold the same key, one data key a
transaction: whenever this ends, every data key opens, and running it again goes on from there. An old wrapping is
removed only when every configured key has opened what is stored for it. Nodes need not know: they hold the data
keys themselves. Refuses: a data key that no configured KMS key opens.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from keys import data_key_rows, kms, refusals, wrappers
from keys.changes import Author, Changes
from keys.data_key_rows import StoredDataKey
from keys.secret import SecretBytes
from keys.wrappers import Wrappers, Wrapping
from storage import engine


class RewrappedMeanwhile(refusals.Conflict):
    def __init__(self, data_key_id: str) -> None:
        super().__init__(f"somebody else changed the wrappings of data key {data_key_id}: run it again")


class Rewrapped(msgspec.Struct, frozen=True):
    data_keys: int
    added: int
    removed: int


class Rewrapping:
    def __init__(self, engine_: AsyncEngine, wrappers_: Wrappers, changes: Changes) -> None:
        self._engine = engine_
        self._wrappers = wrappers_
        self._changes = changes

    @property
    def targets(self) -> tuple[kms.KmsBackend, ...]:
        """What every data key is to be wrapped by."""
        return self._wrappers.targets

    async def run(self, *, remove_old: bool, author: Author) -> Rewrapped:
        keys = await self._list()
        added = sum([await self._add_missing(stored, author) for stored in keys])
        removed = 0
        if remove_old:
            removed = sum([await self._remove_old(stored, author) for stored in await self._list()])
        return Rewrapped(len(keys), added, removed)

    async def _list(self) -> list[StoredDataKey]:
        async with engine.reading(self._engine) as conn:
            return [each for each in await data_key_rows.list_all(conn) if each.state != "destroyed"]

    async def _add_missing(self, stored: StoredDataKey, author: Author) -> int:
        missing = [each for each in self._wrappers.targets if _find(stored, each) is None]
        if not missing:
            return 0
        opened = await self._wrappers.open(stored.wrappings, stored.context, str(stored))
        made = [await wrappers.wrap(opened.key, stored.context, each) for each in missing]
        return await self._store(stored, made, author)

    async def _store(self, stored: StoredDataKey, made: Sequence[Wrapping], author: Author) -> int:
        async with self._changes.begin(author) as change:
            now = await data_key_rows.find(change.conn, stored.id)
            held = set() if now is None else {each[:2] for each in now.wrappings}
            new = [each for each in made if each[:2] not in held]
            if now is None or now.state == "destroyed" or not new:
                change.abandon()
                return 0
            for wrapping in new:
                await data_key_rows.insert_wrapping(change, stored.id, wrapping)
            await change.record(
                "data_key.rewrapped",
                stored.id,
                environment=stored.environment,
                details={"epoch": stored.epoch, "wrapped_by": [_describe(each) for each in new]},
            )
        return len(new)

    async def _remove_old(self, stored: StoredDataKey, author: Author) -> int:
        await self._require_targets(stored)
        wanted = {(each.name, each.key_id) for each in self._wrappers.targets}
        old = [each for each in stored.wrappings if each[:2] not in wanted]
        if not old:
            return 0
        async with self._changes.begin(author) as change:
            now = await data_key_rows.find(change.conn, stored.id)
            # Who was verified a moment ago has to be there still: another command may be moving back.
            if now is None or {*now.wrappings} != {*stored.wrappings}:
                raise RewrappedMeanwhile(stored.id)
            await data_key_rows.remove_wrappings(change, stored.id, old)
            await change.record(
                "data_key.unwrapped",
                stored.id,
                environment=stored.environment,
                details={"epoch": stored.epoch, "removed": [_describe(each) for each in old]},
            )
        return len(old)

    async def _require_targets(self, stored: StoredDataKey) -> None:
        """What is stored for each configured key opens, and to one and the same key."""
        first: SecretBytes | None = None
        for backend in self._wrappers.targets:
            wrapping = _find(stored, backend)
            if wrapping is None:
                raise kms.KmsRefused(f"{stored} is not wrapped by {wrappers.describe(backend)}: run it again")
            if first is None:
                first = await backend.unwrap(wrapping.wrapped, stored.context)
            else:
                await wrappers.verify(first, wrapping.wrapped, stored.context, backend)


def _find(stored: StoredDataKey, backend: kms.KmsBackend) -> Wrapping | None:
    return next((each for each in stored.wrappings if each[:2] == (backend.name, backend.key_id)), None)


def _describe(wrapping: Wrapping) -> str:
    return f"{wrapping.kms_backend} key {wrapping.kms_key}"
