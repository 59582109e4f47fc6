"""Data keys: one per environment and epoch, wrapped by the KMS, opened once and then held in memory.

Invariant: no transaction is open while the KMS is asked, so a slow KMS never holds a lock of the store; however
many wait for one key, it is asked once, and who waits for another key does not wait for this one.
A KMS that goes away takes nothing from a running node: what is open stays open up to the hard lifetime. But nothing
new is sealed under a key that the KMS has not confirmed within the soft lifetime.
Refuses: a data key that no configured KMS key opens or that is not stored, and to make one that is not wrapped by
all that are to wrap it.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from keys import data_key_rows, kms, refusals
from keys.attempt import Attempt
from keys.changes import SYSTEM, Author, Change, Changes, Clock
from keys.data_key_rows import StoredDataKey, UnknownDataKey
from keys.register import Domain
from keys.secret import SecretBytes
from keys.wrappers import Wrappers
from storage import engine

__all__ = ["DataKeys", "Lifetimes", "OpenDataKey", "UnknownDataKey"]

_LOG: Final = logging.getLogger("portreeve.keys")
_ID_ENTROPY: Final = 12
_LONGEST_TICK_MS: Final = 10_000


class RotatedMeanwhile(refusals.Conflict):
    def __init__(self, domain: str) -> None:
        super().__init__(f"the data key of {domain} was rotated by somebody else at the same time")


class Lifetimes(msgspec.Struct, frozen=True):
    """Since the KMS last opened a data key: `soft_ms` until it is asked again, `hard_ms` until it is dropped.

    0 is for ever.
    """

    soft_ms: int = 0
    hard_ms: int = 0


FOR_EVER: Final = Lifetimes()


class OpenDataKey(NamedTuple):
    id: str
    key: SecretBytes


class Examined(NamedTuple):
    data_keys: int
    failures: tuple[str, ...]


class _Held(NamedTuple):
    key: SecretBytes
    confirmed_ms: int


class DataKeys:
    def __init__(  # noqa: PLR0913  where they lie, who wraps them, for how long they are held
        self,
        engine_: AsyncEngine,
        wrappers: Wrappers,
        changes: Changes,
        entropy: Callable[[int], bytes],
        *,
        clock: Clock,
        lifetimes: Lifetimes = FOR_EVER,
    ) -> None:
        self._wrappers = wrappers
        self._engine = engine_
        self._changes = changes
        self._entropy = entropy
        self._clock = clock
        self._lifetimes = lifetimes
        self._held: dict[str, _Held] = {}
        self._asking: dict[str, asyncio.Task[SecretBytes]] = {}
        self._troubles: dict[str, tuple[str, ...]] = {}
        self._failures = 0

    @property
    def degraded(self) -> bool:
        """Some KMS key could not open what it wrapped when it was last asked: readiness tells of it."""
        return bool(self._troubles)

    @property
    def failures(self) -> int:
        """How often a KMS key did not do what it was asked."""
        return self._failures

    async def get_current(self, domain: Domain) -> OpenDataKey:
        """The data key that new secrets are sealed under; the first one is made here."""
        async with engine.reading(self._engine) as conn:
            stored = await data_key_rows.find_active(conn, domain)
        if stored is None:
            stored = await self._create_first(domain)
        return OpenDataKey(stored.id, await self._open(stored))

    def find_open(self, data_key_id: str) -> SecretBytes | None:
        held = self._held.get(data_key_id)
        return None if held is None else held.key

    async def get(self, data_key_id: str) -> SecretBytes:
        held = self._held.get(data_key_id)
        if held is not None:
            return held.key
        async with engine.reading(self._engine) as conn:
            stored = await data_key_rows.find(conn, data_key_id)
        if stored is None:
            raise UnknownDataKey(data_key_id)
        return await self._open(stored)

    async def refresh(self) -> None:
        """Opens an epoch that somebody began, before anything that is sealed under it is met."""
        async with engine.reading(self._engine) as conn:
            active = await data_key_rows.list_active(conn)
        unopened = [self._open(stored) for stored in active if stored.id not in self._held]
        await asyncio.gather(*unopened)

    async def rotate(self, domain: Domain, *, author: Author) -> StoredDataKey:
        """A new epoch for new secrets; the one before it only opens from now on."""
        async with engine.reading(self._engine) as conn:
            old = await data_key_rows.find_active(conn, domain)
            epoch = await data_key_rows.get_latest_epoch(conn, domain) + 1
        new = await self._make(domain, epoch)
        async with self._changes.begin(author) as change:
            found = await data_key_rows.find_active(change.conn, domain)
            if (found and found.id) != (old and old.id):
                raise RotatedMeanwhile(domain)
            if old is not None:
                await data_key_rows.retire(change, old.id)
                await change.record(
                    "data_key.retiring", old.id, environment=domain, details={"epoch": old.epoch}
                )
            await _insert(change, new)
        return new

    async def recheck(self) -> None:
        """Asks the KMS again for what was last confirmed too long ago, and drops what is past all use."""
        try:
            for data_key_id, held in list(self._held.items()):
                if self._is_past(held, self._lifetimes.soft_ms):
                    await self._confirm(data_key_id, held)
        finally:
            self._drop_expired()

    async def examine(self) -> Examined:
        """Every data key that is not destroyed, by every configured key: for those who want to know it all."""
        async with engine.reading(self._engine) as conn:
            living = [each for each in await data_key_rows.list_all(conn) if each.state != "destroyed"]
        failures: list[str] = []
        for stored in living:
            key = await self._open(stored)
            opened = await self._wrappers.check(stored.wrappings, stored.context, str(stored), key)
            failures += [*opened.failures, *self._wrappers.find_missing(stored.wrappings, str(stored))]
        return Examined(len(living), tuple(failures))

    async def watch(self) -> None:
        """Keeps to the lifetimes until it is cancelled."""
        shortest = min((ms for ms in (self._lifetimes.soft_ms, self._lifetimes.hard_ms) if ms), default=0)
        if not shortest:
            return
        tick_s = min(shortest / 4, _LONGEST_TICK_MS) / 1000
        attempt = Attempt("data keys cannot be checked against the KMS; those that are open stay open")
        while True:
            await asyncio.sleep(tick_s)
            await attempt.run(self.recheck)

    def _is_past(self, held: _Held, lifetime_ms: int) -> bool:
        return lifetime_ms > 0 and self._clock() - held.confirmed_ms >= lifetime_ms

    def _drop_expired(self) -> None:
        for data_key_id, held in list(self._held.items()):
            if self._is_past(held, self._lifetimes.hard_ms):
                _LOG.warning("data key %s was not confirmed in time and is dropped", data_key_id)
                del self._held[data_key_id]

    async def _confirm(self, data_key_id: str, held: _Held) -> None:
        async with engine.reading(self._engine) as conn:
            stored = await data_key_rows.find(conn, data_key_id)
        if stored is None or stored.state == "destroyed":
            # Nothing is sealed under it any more: memory need not keep it either.
            self._held.pop(data_key_id, None)
            self._troubles.pop(data_key_id, None)
            return
        try:
            opened = await self._wrappers.check(stored.wrappings, stored.context, str(stored), held.key)
        except (kms.KmsUnavailable, kms.KmsRefused) as failure:
            self._note(data_key_id, (str(failure),))
            return
        self._note(data_key_id, opened.failures)
        self._held[data_key_id] = _Held(held.key, self._clock())

    async def _open(self, stored: StoredDataKey) -> SecretBytes:
        held = self._held.get(stored.id)
        if held is not None and not self._is_past(held, self._lifetimes.soft_ms):
            return held.key
        asking = self._asking.get(stored.id)
        if asking is None:
            asking = asyncio.create_task(self._ask_kms(stored))
            self._asking[stored.id] = asking
            asking.add_done_callback(partial(self._forget, stored.id))
        # Whoever stops waiting takes nothing from the others.
        return await asyncio.shield(asking)

    def _forget(self, data_key_id: str, asked: asyncio.Task[SecretBytes]) -> None:
        del self._asking[data_key_id]
        if not asked.cancelled():
            # Looked at, though everybody who waited for it may have gone.
            asked.exception()

    async def _ask_kms(self, stored: StoredDataKey) -> SecretBytes:
        if stored.state == "destroyed":
            raise UnknownDataKey(stored.id)
        try:
            opened = await self._wrappers.open(stored.wrappings, stored.context, str(stored))
        except (kms.KmsUnavailable, kms.KmsRefused) as failure:
            self._note(stored.id, (str(failure),))
            raise
        self._note(stored.id, opened.failures)
        self._held[stored.id] = _Held(opened.key, self._clock())
        return opened.key

    def _note(self, data_key_id: str, failures: tuple[str, ...]) -> None:
        self._failures += len(failures)
        before = self._troubles.pop(data_key_id, ())
        if failures:
            self._troubles[data_key_id] = failures
        for failure in failures:
            if failure not in before:
                _LOG.warning("%s", failure)
        if before and not failures:
            _LOG.info("over: every KMS key opens data key %s", data_key_id)

    async def _create_first(self, domain: Domain) -> StoredDataKey:
        async with engine.reading(self._engine) as conn:
            epoch = await data_key_rows.get_latest_epoch(conn, domain) + 1
        made = await self._make(domain, epoch)
        async with self._changes.begin(SYSTEM) as change:
            # Asked again under the lock: another node may have been first.
            winner = await data_key_rows.find_active(change.conn, domain)
            if winner is not None:
                change.abandon()
                return winner
            await _insert(change, made)
        return made

    async def _make(self, domain: Domain, epoch: int) -> StoredDataKey:
        data_key_id = f"dk_{domain}_{self._entropy(_ID_ENTROPY).hex()}"
        try:
            made = await self._wrappers.make(data_key_rows.make_context(data_key_id, domain, epoch))
        except (kms.KmsUnavailable, kms.KmsRefused) as failure:
            self._failures += 1
            raise type(failure)(f"no data key for {domain} can be made: {failure}") from failure
        return StoredDataKey(
            id=data_key_id,
            environment=domain,
            epoch=epoch,
            state="active",
            created_at=0,
            wrappings=made.wrappings,
        )


async def _insert(change: Change, made: StoredDataKey) -> None:
    await data_key_rows.insert(change, made)
    wrapped_by = [f"{each.kms_backend} key {each.kms_key}" for each in made.wrappings]
    await change.record(
        "data_key.created",
        made.id,
        environment=made.environment,
        details={"epoch": made.epoch, "wrapped_by": list(wrapped_by)},
    )
