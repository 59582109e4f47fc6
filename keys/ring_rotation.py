"""How a ring's keys follow one another: announced before they sign, published until what they signed has expired.

Invariant: whoever keeps a copy of our key set for no longer than it is allowed to always has the key of whatever any
node signs, also while nodes learn of a step one after the other. The one exception is an emergency, which says so:
then a verifier has to fetch the keys again. A ring that has signed is never without an active key.
Refuses: to sign with a key before it has been announced for long enough, and to take one back before what it signed
has expired; both can be asked for in an emergency, by other words.
"""

from typing import Final

import msgspec

from keys import refusals, rotation, versions
from keys.changes import Author, Change, Changes
from keys.records import SecretVersion
from keys.ring import JWKS_MAX_AGE_S, Ring
from keys.rotation import Versions
from storage import engine

# What the ledger ring signs is to be verified for as long as anybody keeps it.
FOR_EVER_MS: Final = 100 * 366 * 86_400_000


class AnnouncedTooLately(refusals.Conflict):
    def __init__(self, ring: str, left_ms: int) -> None:
        super().__init__(
            f"the pending key of the {ring} ring may sign in {-(-left_ms // 1000)} s: until then, somebody may hold a "
            "key set without it"
        )
        self.left_ms = left_ms


class StillUnderWay(refusals.Conflict):
    def __init__(self, kid: str, left_ms: int) -> None:
        super().__init__(
            f"what {kid} signed may be under way for {-(-left_ms // 1000)} s more: if it has leaked, revoke it"
        )


class UnknownRingKey(refusals.NotFound):
    def __init__(self, ring: str, kid: str) -> None:
        super().__init__(f"the {ring} ring has no key {kid!r:.80}")


class NoPendingKey(refusals.Conflict):
    def __init__(self, ring: str) -> None:
        super().__init__(f"no key of the {ring} ring is pending: announce one first")


class EmptyRing(refusals.Conflict):
    def __init__(self, ring: str) -> None:
        super().__init__(f"the {ring} ring has no current key; `portreeve init` makes the first one")


class RingTimes(msgspec.Struct, frozen=True, kw_only=True):
    """`lifetime_ms`: the longest that anything it signs is good for. `skew_ms`: how far a verifier's clock may be
    off. `cache_ms`: how long a key set may be kept. `spread_ms`: how long a node may be behind the store.
    """

    lifetime_ms: int
    skew_ms: int = 1_000
    cache_ms: int = JWKS_MAX_AGE_S * 1_000
    spread_ms: int = 30_000

    @property
    def lead_ms(self) -> int:
        """From when a key is announced until it may sign: the last node publishes it, and the last copy is renewed."""
        return self.cache_ms + self.spread_ms

    @property
    def overlap_ms(self) -> int:
        """From when a key is replaced until nothing that it signed is good: the last node has stopped signing."""
        return self.lifetime_ms + self.skew_ms + self.cache_ms + self.spread_ms


class RingRotation:
    """The steps of one ring. Every one is a change of its own, and nodes follow it by the revision."""

    kind: Final = "ring"

    def __init__(self, ring: Ring, changes: Changes, times: RingTimes) -> None:
        self._ring = ring
        self._changes = changes
        self.times = times

    @property
    def name(self) -> str:
        return self._ring.name

    @property
    def secret_id(self) -> str:
        return self._ring.secret_id

    async def list_versions(self) -> Versions:
        async with engine.reading(self._ring.engine) as conn:
            return await versions.read(conn, self.secret_id)

    async def announce(self, *, ahead_ms: int = 0, author: Author) -> SecretVersion:
        """The next key: published from now on, and not signing yet. `ahead_ms`: for how long, where that is longer than
        it has to be.
        """
        data_key = await self._ring.current_data_key()
        async with self._changes.begin(author) as change:
            held = await self._read(change)
            if rotation.find_pending(held) is not None:
                raise rotation.StepRefused("a key is pending already: activate it, or revoke it first")
            number, activates_at = rotation.next_number(held), change.at + max(self.times.lead_ms, ahead_ms)
            added = await self._ring.insert_key(
                change, data_key, number, state="pending", activates_at=activates_at
            )
            after = rotation.announce(held, added, activates_at)
            await versions.follow(change, self.secret_id, (*held, added), after)
            await self._record(change, "announced", added, activates_at=activates_at)
        return added

    async def activate(self, *, overlap_ms: int = 0, author: Author, now: bool = False) -> SecretVersion:
        """The pending key signs from now on. `now`: also where somebody may hold a key set without it. `overlap_ms`:
        for how long the key before it stays published, where that is longer than it has to be.
        """
        async with self._changes.begin(author) as change:
            held = await self._read(change)
            pending = rotation.find_pending(held)
            if pending is None:
                raise NoPendingKey(self.name)
            left_ms = (pending.activates_at or pending.created_at + self.times.lead_ms) - change.at
            if left_ms > 0 and not now:
                raise AnnouncedTooLately(self.name, left_ms)
            after = self._activated(held, pending.version, change, overlap_ms)
            await versions.follow(change, self.secret_id, held, after)
            await self._record(change, "activated", pending, early_ms=max(0, left_ms))
        return rotation.get(after, pending.version)

    async def rotate(self, *, author: Author, now: bool = False) -> SecretVersion:
        """The next step there is: announce a key, or activate the one that was announced. `now`: see `rotate_now`."""
        if now:
            return await self.rotate_now(author=author)
        pending = rotation.find_pending(await self.list_versions())
        if pending is None:
            return await self.announce(author=author)
        return await self.activate(author=author)

    async def rotate_now(self, *, author: Author) -> SecretVersion:
        """For a leak: the active key is revoked at once, and the pending one signs, or a new one if none is."""
        data_key = await self._ring.current_data_key()
        async with self._changes.begin(author) as change:
            held = await self._read(change)
            leaked, pending = rotation.find_active(held), rotation.find_pending(held)
            if pending is None:
                number = rotation.next_number(held)
                pending = await self._ring.insert_key(change, data_key, number, state="pending")
                held = (*held, pending)
            after = self._activated(held, pending.version, change)
            if leaked is not None:
                after = rotation.revoke(after, leaked.version, change.at)
                await self._record(change, "revoked", leaked)
            await versions.follow(change, self.secret_id, held, after)
            await self._record(change, "activated", pending, emergency=True)
        return rotation.get(after, pending.version)

    async def retire(self, version: int, *, author: Author) -> SecretVersion:
        """What the key signed has expired: it is published no more."""
        async with self._changes.begin(author) as change:
            held = await self._read(change)
            found = rotation.get(held, version)
            left_ms = (found.retires_at or 0) - change.at
            if found.state == "retiring" and left_ms > 0:
                raise StillUnderWay(found.public_id or "", left_ms)
            after = rotation.retire(held, version, change.at)
            return await self._moved(change, held, after, found, "retired")

    async def revoke(self, kid: str, *, author: Author) -> SecretVersion:
        """Out of the key set at once, whatever it signed. The active key needs a successor: `rotate_now`."""
        async with self._changes.begin(author) as change:
            held = await self._read(change)
            found = next((each for each in held if each.public_id == kid), None)
            if found is None:
                raise UnknownRingKey(self.name, kid)
            if found.state == "active":
                raise rotation.StepRefused(f"{kid} is the active key: rotate now, which revokes it")
            after = rotation.revoke(held, found.version, change.at)
            return await self._moved(change, held, after, found, "revoked")

    async def destroy(self, version: int, *, author: Author) -> SecretVersion:
        async with self._changes.begin(author) as change:
            held = await self._read(change)
            found = rotation.get(held, version)
            after = rotation.destroy(held, version, change.at)
            return await self._moved(change, held, after, found, "destroyed")

    async def _read(self, change: Change) -> Versions:
        held = await versions.read(change.conn, self.secret_id)
        if not held:
            raise EmptyRing(self.name)
        return held

    def _activated(self, held: Versions, version: int, change: Change, overlap_ms: int = 0) -> Versions:
        overlap_ms = max(self.times.overlap_ms, overlap_ms)
        return rotation.activate(held, version, change.at, overlap_ms, ends_older=False)

    async def _moved(
        self, change: Change, before: Versions, after: Versions, moved: SecretVersion, what: str
    ) -> SecretVersion:
        await versions.follow(change, self.secret_id, before, after)
        await self._record(change, what, moved)
        return rotation.get(after, moved.version)

    async def _record(self, change: Change, what: str, key: SecretVersion, **more: int) -> None:
        details = {"ring": self.name, "version": key.version, "was": key.state, **more}
        await change.record(f"ring_key.{what}", key.public_id or "", details=details)
