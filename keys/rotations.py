"""Rotating, retiring, revoking and destroying the versions of any secret, by hand and when it is due.

Invariant: every act is one step of `rotation` on what was read under the revision's lock, written, stamped and audited
in one transaction. Nothing that can fail, and no call to the KMS, stands between its commit and its answer; a new
secret is shown once, by the call that made it. Two rotations at once never end a version that neither meant to end:
the one that finds another active version than it saw is refused.
Refuses: an overlap beyond the schedule's longest, a moment that has passed, to end a version that is still used unless
that is said (see `evidence`), and whatever the state machine refuses.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from keys import due, evidence, kinds, refusals, register, rotation, rotation_events, upkeep, versions
from keys.changes import Author, Change, Changes, Clock
from keys.due import Action
from keys.held import HeldSecret
from keys.kinds import NOTHING, Draft, Kind, Offer
from keys.records import SecretVersion
from keys.rotation import StepRefused, Versions
from keys.schedules import Schedules
from keys.secret import Secret
from storage import engine


class NotRotatedHere(refusals.Conflict):
    """Nobody has said how this kind's new versions are made."""


class ChangedMeanwhile(refusals.Conflict):
    pass


class InvalidOverlap(refusals.InvalidRequest):
    field = "overlap"


class InvalidActivation(refusals.InvalidRequest):
    field = "activates_at"


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """How a rotation is to go. `prepare` makes a version that does not serve until it is activated; `activates_at` does
    so and names the moment. `overlap_ms`: None is the schedule's. `expected`: the active version that was seen, where
    whoever asks has seen one. `replaces_lost`: see `rotation.activate`.
    """

    overlap_ms: int | None = None
    prepare: bool = False
    activates_at: int | None = None
    expected: int | None = None
    replaces_lost: bool = False
    even_if_used: bool = False

    @property
    def only_announces(self) -> bool:
        return self.prepare or self.activates_at is not None


PLAIN: Final = Wish()


class Rotated(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """`secret` as it is now; `shown`: the new secret, where we made it. `replaced`: the version before."""

    secret: HeldSecret
    version: int
    shown: Secret | None
    replaced: int | None


class Rotations:
    def __init__(
        self,
        engine_: AsyncEngine,
        changes: Changes,
        clock: Clock,
        kinds_: Mapping[register.Kind, Kind],
        schedules: Schedules,
    ) -> None:
        self._engine = engine_
        self._changes = changes
        self._clock = clock
        self._kinds = dict(kinds_)
        self._schedules = schedules

    async def get(self, secret_id: str) -> HeldSecret:
        async with engine.reading(self._engine) as conn:
            return await versions.get(conn, secret_id)

    async def list_all(
        self, *, kind: str | None = None, environment: str | None = None, partner: str | None = None
    ) -> list[HeldSecret]:
        async with engine.reading(self._engine) as conn:
            return await versions.list_all(conn, kind=kind, environment=environment, partner=partner)

    async def rotate(
        self, secret_id: str, wish: Wish = PLAIN, offer: Offer = NOTHING, *, author: Author
    ) -> Rotated:
        """A new version: at once the active one, or pending where the wish says so."""
        seen = await self.get(secret_id)
        kind = self._get_kind(seen)
        overlap_ms = self._find_overlap(seen, wish.overlap_ms)
        self._check_wish(seen, kind, wish)
        # Before the transaction: a KMS that is slow or away holds no lock.
        draft = await kind.draft(seen, offer)
        async with self._changes.begin(author) as change:
            secret = await versions.get_locked(change, secret_id)
            _require_unchanged(seen, secret, wish.expected)
            number = rotation.next_number(secret.versions)
            after = rotation.announce(
                secret.versions, _drafted(number, change.at, draft, wish), wish.activates_at
            )
            if wish.only_announces:
                self._require_unused_later(secret, after, overlap_ms, wish, change.at)
                details = {"version": number, "activates_at": wish.activates_at}
                action = "secret.announced"
            else:
                after = rotation.activate(
                    after,
                    number,
                    change.at,
                    overlap_ms,
                    ends_older=kind.ends_older,
                    replaces_lost=wish.replaces_lost,
                )
                details = self._succession(secret, after, number, change.at, even_if_used=wish.even_if_used)
                action = "secret.rotated"
            await versions.write(change, secret, after, draft.seal(number))
            await rotation_events.record(change, action, secret, details)
            rotated = await versions.get(change.conn, secret_id)
        replaced = rotation.find_active(seen.versions)
        return Rotated(
            secret=rotated,
            version=number,
            shown=draft.shown,
            replaced=None if replaced is None else replaced.version,
        )

    async def activate(
        self,
        secret_id: str,
        *,
        overlap_ms: int | None = None,
        even_if_used: bool = False,
        author: Author,
    ) -> HeldSecret:
        """The pending version serves from now on."""
        async with self._changes.begin(author) as change:
            secret = await versions.get_locked(change, secret_id)
            await self._activate(change, secret, overlap_ms, even_if_used=even_if_used)
            return await versions.get(change.conn, secret_id)

    async def retire(
        self, secret_id: str, version: int | None = None, *, even_if_used: bool = False, author: Author
    ) -> HeldSecret:
        """Ends the overlap before its time; without a number, that of the version that is retiring."""
        async with self._changes.begin(author) as change:
            secret = await versions.get_locked(change, secret_id)
            self._get_kind(secret)
            number = _retiring(secret) if version is None else version
            after = rotation.retire(secret.versions, number, change.at)
            if not even_if_used:
                evidence.require_unused(secret, after, change.at, self._schedules.guard_ms)
            await _retire(change, secret, after, number, even_if_used=even_if_used)
            return await versions.get(change.conn, secret_id)

    async def revoke(self, secret_id: str, version: int | None = None, *, author: Author) -> HeldSecret:
        """At once, for what has leaked: one version, or without a number the secret whole."""
        async with self._changes.begin(author) as change:
            secret = await versions.get_locked(change, secret_id)
            kind = self._get_kind(secret)
            if version is None:
                await revoke_whole(change, secret, kind)
            else:
                after = rotation.revoke(secret.versions, version, change.at)
                await versions.write(change, secret, after)
                await rotation_events.record(
                    change, "secret.revoked", secret, rotation_events.told(secret, version)
                )
            return await versions.get(change.conn, secret_id)

    async def destroy(self, secret_id: str, version: int, *, author: Author) -> HeldSecret:
        """What is revoked loses its material, before its time."""
        async with self._changes.begin(author) as change:
            secret = await versions.get_locked(change, secret_id)
            self._get_kind(secret)
            await _destroy(change, secret, version)
            return await versions.get(change.conn, secret_id)

    async def due(self) -> tuple[Action, ...]:
        return await upkeep.find_due(self._engine, self._schedules, self._kinds, self._clock())

    async def plan(self, until_ms: int) -> tuple[Action, ...]:
        """What would happen by then, and to whom, if nobody did anything else."""
        kept = {name for name, kind in self._kinds.items() if not kind.ends_older}
        return due.plan(await self._managed(), self._schedules, self._clock(), until_ms, keep_older=kept)

    async def apply(self, action: Action, *, author: Author) -> bool:
        """Whether it was still due: somebody else may have been first."""
        if action.step in {"announce", "rotate"}:
            return await self._apply_rotation(action, author)
        async with self._changes.begin(author) as change:
            secret = await versions.get_locked(change, action.secret_id)
            if not due.is_due(secret, self._schedules, action, change.at):
                change.abandon()
                return False
            await self._take(change, secret, action)
        return True

    async def _take(self, change: Change, secret: HeldSecret, action: Action) -> None:
        match action.step:
            case "activate":
                # What is ended by it was looked at when it was announced.
                await self._activate(change, secret, None, even_if_used=True)
            case "retire":
                after = rotation.retire(secret.versions, action.version, change.at)
                await _retire(change, secret, after, action.version)
            case "destroy":
                await _destroy(change, secret, action.version)
            case _:
                await upkeep.warn(change, secret, self._schedules)

    async def _apply_rotation(self, action: Action, author: Author) -> bool:
        secret = await self.get(action.secret_id)
        if not due.is_due(secret, self._schedules, action, self._clock()):
            return False
        ahead_ms = self._schedules.get(secret.kind, secret.environment).announce_ahead_ms
        active = rotation.find_active(secret.versions)
        wish = Wish(
            activates_at=self._clock() + ahead_ms if action.step == "announce" else None,
            expected=None if active is None else active.version,
        )
        await self.rotate(action.secret_id, wish, author=author)
        return True

    async def _activate(
        self, change: Change, secret: HeldSecret, overlap_ms: int | None, *, even_if_used: bool
    ) -> None:
        pending = rotation.find_pending(secret.versions)
        if pending is None:
            raise StepRefused("no version is pending: rotate makes one")
        planned = pending.overlap_ms if overlap_ms is None else overlap_ms
        overlap_ms = self._find_overlap(secret, planned)
        ends_older = self._get_kind(secret).ends_older
        number = pending.version
        after = rotation.activate(secret.versions, number, change.at, overlap_ms, ends_older=ends_older)
        details = self._succession(secret, after, number, change.at, even_if_used=even_if_used)
        await versions.write(change, secret, after)
        await rotation_events.record(change, "secret.activated", secret, details)

    def _succession(
        self, secret: HeldSecret, after: Versions, number: int, now_ms: int, *, even_if_used: bool
    ) -> dict[str, Any]:
        """What the ledger tells of a new active version; refuses where somebody would break by it."""
        if not even_if_used:
            evidence.require_unused(secret, after, now_ms, self._schedules.guard_ms)
        return rotation_events.succession(secret.versions, after, number, even_if_used=even_if_used)

    def _require_unused_later(
        self, secret: HeldSecret, after: Versions, overlap_ms: int, wish: Wish, now_ms: int
    ) -> None:
        """At its moment nobody is there to be told who would break, so that is looked at now. What still retires then
        has ended by itself.
        """
        if wish.activates_at is None or wish.even_if_used:
            return
        number = after[-1].version
        later = rotation.activate(after, number, wish.activates_at, overlap_ms, ends_older=False)
        evidence.require_unused(secret, later, now_ms, self._schedules.guard_ms)

    async def _managed(self) -> list[HeldSecret]:
        return [secret for secret in await self.list_all() if secret.kind in self._kinds]

    def _get_kind(self, secret: HeldSecret) -> Kind:
        kind = self._kinds.get(secret.kind)
        if kind is None:
            raise NotRotatedHere(f"secrets of kind {secret.kind} are not rotated here")
        return kind

    def _find_overlap(self, secret: HeldSecret, wanted_ms: int | None) -> int:
        schedule = self._schedules.get(secret.kind, secret.environment)
        overlap_ms = schedule.overlap_ms if wanted_ms is None else wanted_ms
        if not 0 <= overlap_ms <= schedule.longest_overlap_ms:
            raise InvalidOverlap(
                f"an overlap of {secret.kind} secrets in {secret.environment} is 0s to "
                f"{evidence.show_length(schedule.longest_overlap_ms)}"
            )
        return overlap_ms

    def _check_wish(self, secret: HeldSecret, kind: Kind, wish: Wish) -> None:
        if wish.replaces_lost and wish.only_announces:
            raise InvalidActivation("what replaces a lost secret serves at once: it is not prepared")
        at = wish.activates_at
        if at is None:
            return
        if at <= self._clock():
            raise InvalidActivation("the moment of activation has passed: rotate without one")
        older = rotation.find_retiring(secret.versions)
        if kind.ends_older and older is not None and (older.retires_at or at) > at:
            raise InvalidActivation(
                f"version {older.version} verifies until {evidence.show(older.retires_at)}: "
                "choose a later moment, or retire it first"
            )


async def revoke_whole(change: Change, secret: HeldSecret, kind: kinds.Kind) -> None:
    """Every version at once, and what else its kind ends with them."""
    living = [each.version for each in secret.versions if each.state in rotation.LIVING]
    if secret.versions and not living:
        raise StepRefused(f"{secret.id} is revoked already")
    await versions.write(change, secret, rotation.revoke_all(secret.versions, change.at))
    await rotation_events.record(change, await kind.end(change, secret), secret, {"versions": living})


async def _retire(
    change: Change, secret: HeldSecret, after: Versions, number: int, *, even_if_used: bool = False
) -> None:
    await versions.write(change, secret, after)
    details = {**rotation_events.told(secret, number), "even_if_used": even_if_used}
    await rotation_events.record(change, "secret.retired", secret, details)


async def _destroy(change: Change, secret: HeldSecret, number: int) -> None:
    await versions.write(change, secret, rotation.destroy(secret.versions, number, change.at))
    await rotation_events.record(change, "secret.destroyed", secret, rotation_events.told(secret, number))


def _drafted(number: int, now_ms: int, draft: Draft, wish: Wish) -> SecretVersion:
    return SecretVersion(
        version=number,
        state="pending",
        created_at=now_ms,
        overlap_ms=wish.overlap_ms if wish.only_announces else None,
        public_key=draft.public_key,
        public_id=draft.public_id,
    )


def _require_unchanged(seen: HeldSecret, secret: HeldSecret, expected: int | None) -> None:
    active = rotation.find_active(secret.versions)
    if active is None:
        raise StepRefused(f"{secret.id} has no active version: it is revoked")
    before = rotation.find_active(seen.versions)
    if before is None or before.version != active.version or expected not in {None, active.version}:
        raise ChangedMeanwhile(
            f"version {active.version} of {secret.id} has become the active one meanwhile: look again"
        )


def _retiring(secret: HeldSecret) -> int:
    found = rotation.find_retiring(secret.versions)
    if found is None:
        raise StepRefused(f"no version of {secret.id} is retiring: rotate first")
    return found.version
