"""Rings follow their schedule: announced ahead, signing in their time, published until what they signed has expired.

Invariant: a schedule makes a ring's times longer and never shorter: every step is one of `RingRotation`, whose rules
hold whatever a schedule says. A key signs only once every node that has been heard of lately publishes it. Each step
looks again, in its own transaction, whether it is due.
Refuses: to make or use keys of a ring that somebody outside has pinned, as auditors do the ledger's: what is announced
there signs when an operator says so.
"""

from collections.abc import Collection, Iterable
from typing import Final

from msgspec.structs import replace
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keys import due, upkeep, versions
from keys.changes import Author, Change, Changes, Clock
from keys.due import Action
from keys.held import HeldSecret
from keys.records import SecretVersion
from keys.register import Domain
from keys.ring import LEDGER
from keys.ring_rotation import RingRotation
from keys.schedules import Schedule, Schedules
from storage import engine, nodes

_DOMAIN: Final[Domain] = "service"
# A node that ended without a word is waited for so long, and no longer.
_HEARD_OF_MS: Final = 3_600_000


class RingUpkeep:
    """`pinned`: the rings whose keys follow one another by hand alone."""

    def __init__(  # noqa: PLR0913  where they lie, what changes them, when, and which of them
        self,
        engine_: AsyncEngine,
        changes: Changes,
        clock: Clock,
        rings: Iterable[RingRotation],
        schedules: Schedules,
        *,
        pinned: Collection[str] = (LEDGER,),
    ) -> None:
        self._engine = engine_
        self._changes = changes
        self._clock = clock
        self._rings = {ring.secret_id: ring for ring in rings}
        self._schedule = schedules.get("ring", _DOMAIN)
        self._pinned = frozenset(pinned)

    async def due(self) -> tuple[Action, ...]:
        now_ms = self._clock()
        async with engine.reading(self._engine) as conn:
            found = [
                action
                for secret in await self._read(conn)
                for action in due.due((secret,), self._terms(secret.id), now_ms)
                if action.step != "activate" or await _is_everywhere(conn, secret)
            ]
        return tuple(sorted(found, key=lambda action: action.at))

    async def plan(self, until_ms: int) -> tuple[Action, ...]:
        now_ms = self._clock()
        async with engine.reading(self._engine) as conn:
            secrets = await self._read(conn)
        found = [
            action
            for secret in secrets
            for action in due.plan((secret,), self._terms(secret.id), now_ms, until_ms, keep_older=("ring",))
        ]
        return tuple(sorted(found, key=lambda action: action.at))

    async def apply(self, action: Action, *, author: Author) -> bool:
        async def holds(change: Change) -> bool:
            secret = self._as_planned(await versions.get(change.conn, action.secret_id))
            if not due.is_due(secret, self._terms(secret.id), action, change.at):
                return False
            return action.step != "activate" or await _is_everywhere(change.conn, secret)

        return await upkeep.take_if_due(lambda given: self._take(action, given), author, holds)

    async def _take(self, action: Action, author: Author) -> None:
        ring = self._rings[action.secret_id]
        match action.step:
            case "announce" | "rotate":
                await ring.announce(ahead_ms=self._schedule.announce_ahead_ms, author=author)
            case "activate":
                await ring.activate(overlap_ms=self._schedule.overlap_ms, author=author)
            case "retire":
                await ring.retire(action.version, author=author)
            case "destroy":
                await ring.destroy(action.version, author=author)
            case "warn":
                async with self._changes.begin(author) as change:
                    secret = await versions.get(change.conn, action.secret_id)
                    await upkeep.warn(change, secret, self._terms(secret.id))

    async def _read(self, conn: AsyncConnection) -> list[HeldSecret]:
        held = await versions.list_all(conn, kind="ring")
        return [self._as_planned(secret) for secret in held if secret.id in self._rings]

    def _terms(self, secret_id: str) -> Schedules:
        """The schedule, with the ring's own times where those are longer."""
        return Schedules(configured={("ring", _DOMAIN): self._stretched(self._rings[secret_id])})

    def _stretched(self, ring: RingRotation) -> Schedule:
        if self._is_by_hand(ring.name):
            return replace(self._schedule, auto=False)
        ahead_ms = max(self._schedule.announce_ahead_ms, ring.times.lead_ms)
        overlap_ms = max(self._schedule.overlap_ms, ring.times.overlap_ms)
        # However short a life is asked for: the next key is made when this one signs, and no earlier.
        max_age_ms = max(self._schedule.max_age_ms or 0, ahead_ms + overlap_ms + 1)
        return replace(
            self._schedule,
            max_age_ms=max_age_ms,
            overlap_ms=overlap_ms,
            longest_overlap_ms=max(self._schedule.longest_overlap_ms, overlap_ms),
            announce_ahead_ms=ahead_ms,
        )

    def _is_by_hand(self, name: str) -> bool:
        return not self._schedule.auto or name in self._pinned

    def _as_planned(self, secret: HeldSecret) -> HeldSecret:
        """Where an operator decides when a key signs, the moment from which it may is no plan."""
        if not self._is_by_hand(self._rings[secret.id].name):
            return secret
        return replace(secret, versions=tuple(_unplanned(version) for version in secret.versions))


def _unplanned(version: SecretVersion) -> SecretVersion:
    return replace(version, activates_at=None) if version.state == "pending" else version


async def _is_everywhere(conn: AsyncConnection, secret: HeldSecret) -> bool:
    """Whether every node that was heard of lately serves the ring as it is."""
    roll = await nodes.read(conn)
    return all(
        node.revision >= secret.revision for node in roll.nodes if node.seen_at >= roll.at - _HEARD_OF_MS
    )
