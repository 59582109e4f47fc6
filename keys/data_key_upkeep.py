"""Data keys follow their schedule: when the active one of a domain has reached its age, a new epoch begins.

Invariant: the data keys of a domain are as one secret, whose versions are its epochs. That an epoch is due is looked at
again in the transaction that begins it, so that whoever is late makes no further one.
Refuses: to move anything that is sealed. Resealing writes every secret again, has every node read all of them again,
and ends with data keys that no longer exist: when that happens is an operator's to say (`Resealing`).
"""

from collections.abc import Iterator
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from keys import data_key_rows, upkeep
from keys.changes import Author, Change, Clock
from keys.data_key_rows import StoredDataKey
from keys.data_keys import DataKeys
from keys.due import Action
from keys.schedules import Schedules
from storage import engine

# A plan far ahead repeats itself: nobody reads more of one domain.
_MOST_EPOCHS: Final = 200


class DataKeyUpkeep:
    def __init__(self, engine_: AsyncEngine, data_keys: DataKeys, clock: Clock, schedules: Schedules) -> None:
        self._engine = engine_
        self._data_keys = data_keys
        self._clock = clock
        self._schedules = schedules

    async def due(self) -> tuple[Action, ...]:
        now_ms = self._clock()
        found = [(stored, self._find_end(stored)) for stored in await self._list_active()]
        return tuple(
            _action(stored, ends_at, stored.epoch + 1)
            for stored, ends_at in found
            if ends_at is not None and ends_at <= now_ms
        )

    async def plan(self, until_ms: int) -> tuple[Action, ...]:
        planned = [
            action for stored in await self._list_active() for action in self._follow(stored, until_ms)
        ]
        return tuple(sorted(planned, key=lambda action: action.at))

    async def apply(self, action: Action, *, author: Author) -> bool:
        async def holds(change: Change) -> bool:
            active = await data_key_rows.find_active(change.conn, action.environment)
            ends_at = None if active is None else self._find_end(active)
            return ends_at is not None and ends_at <= change.at

        return await upkeep.take_if_due(
            lambda given: self._data_keys.rotate(action.environment, author=given), author, holds
        )

    def _follow(self, stored: StoredDataKey, until_ms: int) -> Iterator[Action]:
        max_age_ms = self._find_age(stored)
        if max_age_ms is None:
            return
        # What is overdue happens as soon as somebody looks.
        at = max(stored.created_at + max_age_ms, self._clock())
        for number in range(1, _MOST_EPOCHS + 1):
            if at > until_ms:
                return
            yield _action(stored, at, stored.epoch + number)
            at += max_age_ms

    async def _list_active(self) -> list[StoredDataKey]:
        async with engine.reading(self._engine) as conn:
            return await data_key_rows.list_active(conn)

    def _find_end(self, stored: StoredDataKey) -> int | None:
        max_age_ms = self._find_age(stored)
        return None if max_age_ms is None else stored.created_at + max_age_ms

    def _find_age(self, stored: StoredDataKey) -> int | None:
        """None where it grows as old as it likes, until somebody says otherwise."""
        schedule = self._schedules.get("data-key", stored.environment)
        return schedule.max_age_ms if schedule.auto else None


def _action(stored: StoredDataKey, at: int, epoch: int) -> Action:
    return Action(
        at=at,
        step="rotate",
        secret_id=f"dk_{stored.environment}",
        kind="data-key",
        environment=stored.environment,
        partner=None,
        label="",
        version=epoch,
    )
