"""The directory: every served key, in memory, for a request path that does no I/O.

Invariant: the directory holds one state the store has had, plus any newer part of it; it learns of a change
at the next poll or wake-up, whichever is first. A store that was restored has another history, be its revision
lower, the same or higher by now: the ledger's chain tells, and all of it is read anew. The wake-up only hastens:
polling goes on whatever becomes of it. A store that cannot be asked leaves the last state served and lets its age
grow; how old is too old is the caller's policy. The KMS is never waited for on the way of a change: a version whose
data key is not open yet is left out and added when it is, so a revocation arrives while the KMS is away. What is
frozen is read in the same moment as the keys and served before them: a freeze waits for nothing. Whoever follows
promptly is asked right after the keys, and before anything that may wait for the KMS: other revocations arrive as soon.
One of them that hangs holds up no check.
Refuses: at the first load, to start with data keys that do not open.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from keys import freezes, snapshot
from keys.attempt import Attempt
from keys.changes import Clock
from keys.data_keys import DataKeys
from keys.prompt import Companion, Followers
from keys.served import ServedKey, ServedVersion
from keys.shelf import Shelf
from keys.usage import Usage
from storage import audit, chain, engine, revision, wakeup

__all__ = ["Companion", "Directory", "ServedKey", "ServedVersion"]

_LOG: Final = logging.getLogger("portreeve.keys")
_RETRY_S: Final = 1.0
# A store that hangs is given up on soon; one that answers may take its time over many rows.
_LONGEST_CHECK_S: Final = 5.0
_LONGEST_READ_S: Final = 60.0
# Versions that come into use together are written together.
_GATHER_S: Final = 0.2


class Applied(NamedTuple):
    """What the directory serves now. `committed_at`: by the store's clock; None for what it began with.

    `incomplete`: keys that are not whole, and companions that have not followed yet.
    """

    revision: int
    committed_at: int | None
    incomplete: int


Notice = Callable[[Applied], None]


def _tell_nobody(_: Applied) -> None:
    return


class _Check(NamedTuple):
    """Nothing but the revision where nothing has changed. `since`: after which revision the rows are read; None for
    all of them. `ledger`: where the history stood.
    """

    began_ms: int
    revision: int
    changed_at: int | None
    since: int | None = None
    ledger: chain.Place = chain.START
    rows: Sequence[snapshot.Row] = ()
    frozen: tuple[freezes.Freeze, ...] = ()


class Directory:
    def __init__(  # noqa: PLR0913  what it reads, what it follows, and its rhythm
        self,
        engine_: AsyncEngine,
        data_keys: DataKeys,
        wakeup_: wakeup.WakeUp,
        clock: Clock,
        *,
        poll_ms: int = 250,
        flush_usage_ms: int = 5_000,
        companions: Sequence[Companion] = (),
        prompt: Sequence[Companion] = (),
        frozen: freezes.ServedFreezes | None = None,
        notice: Notice = _tell_nobody,
    ) -> None:
        self._engine = engine_
        self._data_keys = data_keys
        self._wakeup = wakeup_
        self._clock = clock
        self._poll_s = poll_ms / 1000
        self._flush_s = flush_usage_ms / 1000
        self._companions = tuple(companions)
        # These ask the store and nobody else.
        self._prompt = Followers(prompt)
        self._frozen = frozen or freezes.ServedFreezes()
        # Told of each revision once it is served, and again when what followed it is there.
        self._notice = notice
        self._shelf = Shelf(data_keys.find_open)
        self._usage = Usage()
        # Of key id, version, source and time: noted for every request, so straight from whoever admits them.
        self.used = self._usage.note
        self._revision = 0
        # What tells the history that is followed from every other: when its last change was made, and how the ledger
        # went on.
        self._changed_at: int | None = None
        self._ledger = chain.START
        self._committed_at: int | None = None
        self._lagging = 0
        self._checked_ms = 0
        # Up to when those who follow promptly have followed.
        self._followed_ms = 0
        self._refreshing = asyncio.Lock()
        self._woken = asyncio.Event()
        self._behind = asyncio.Event()

    @property
    def revision(self) -> int:
        return self._revision

    @property
    def incomplete(self) -> frozenset[str]:
        """Ids of keys served without one of their versions, or not at all: readiness tells of them."""
        return self._shelf.incomplete

    def __len__(self) -> int:
        return len(self._shelf.keys)

    def find(self, key_id: str) -> ServedKey | None:
        return self._shelf.keys.get(key_id)

    def age_ms(self, now_ms: int) -> int:
        """Since the last successful check began; before the first load, as old as time."""
        return max(0, now_ms - self._checked_ms)

    def follower_age_ms(self, now_ms: int) -> int:
        """The same of those who follow promptly: one that fails ages, however often the keys are read meanwhile."""
        return max(0, now_ms - min(self._checked_ms, self._followed_ms))

    async def flush_usage(self) -> int:
        return await self._usage.flush(self._engine)

    async def load(self) -> None:
        """The first load: all of it or an exception."""
        async with self._refreshing:
            check = await self._check(since=None)
            for data_key_id in sorted({row.data_key_id for row in check.rows if row.data_key_id is not None}):
                await self._data_keys.get(data_key_id)
            await self._replace(check)
        await self._prompt.load()
        for companion in self._companions:
            await companion.refresh()
        self._followed_ms = check.began_ms
        self._tell()

    async def refresh(self) -> None:
        """One check against the store, and whatever it says has changed."""
        async with self._refreshing:
            check = await self._check(since=self._revision)
            if (check.revision, check.changed_at) == (self._revision, self._changed_at):
                self._checked_ms = check.began_ms
                if self._prompt.is_late:
                    await self._follow_promptly(check)
                    self._tell()
                else:
                    self._followed_ms = check.began_ms
                return
            if check.since is None:
                # What this node learned after the backup no longer counts.
                _LOG.warning(
                    "the store was restored: from revision %d to its %d", self._revision, check.revision
                )
                await self._replace(check)
            else:
                self._frozen.serve(check.frozen)
                await self._shelf.put(check.rows)
                self._note(check)
                self._committed_at = check.changed_at
            await self._follow_promptly(check)
            self._lagging = len(self._companions)
            self._behind.set()
            self._tell()

    async def run(self) -> None:
        """Follows the store until it is cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._poll())
                tasks.create_task(self._listen())
                tasks.create_task(self._follow_up())
                tasks.create_task(self._flush())
        finally:
            await self._prompt.end()

    async def _check(self, since: int | None) -> _Check:
        began_ms = self._clock()
        try:
            async with asyncio.timeout(_LONGEST_CHECK_S) as patience, engine.reading(self._engine) as conn:
                # Asked before the rows: what commits in between is read now, and once more at the next check.
                current, changed_at = await revision.latest(conn)
                patience.reschedule(asyncio.get_running_loop().time() + _LONGEST_READ_S)
                if since is not None and (current, changed_at) == (since, self._changed_at):
                    return _Check(began_ms, current, changed_at)
                if since is not None and not (current > since and await audit.holds(conn, self._ledger)):
                    since = None
                ledger = chain.Place(*await audit.head(conn))
                frozen = await freezes.read(conn)
                if since is None:
                    rows = await snapshot.read_all(conn)
                else:
                    rows = await snapshot.read_changed(conn, since)
                return _Check(began_ms, current, changed_at, since, ledger, rows, frozen)
        except TimeoutError as cause:
            raise engine.StorageUnavailable("the key store did not answer in time") from cause

    async def _replace(self, check: _Check) -> None:
        self._frozen.serve(check.frozen)
        shelf = Shelf(self._data_keys.find_open)
        await shelf.put(check.rows)
        self._shelf = shelf
        self._note(check)
        # When all of it is read anew, how long its latest change took to arrive says nothing.
        self._committed_at = None

    def _note(self, check: _Check) -> None:
        self._revision, self._changed_at, self._ledger = check.revision, check.changed_at, check.ledger
        self._checked_ms = check.began_ms

    async def _follow_promptly(self, check: _Check) -> None:
        await self._prompt.follow()
        if not self._prompt.is_late:
            self._followed_ms = check.began_ms

    def _tell(self) -> None:
        incomplete = len(self._shelf.incomplete) + self._lagging + self._prompt.is_late
        self._notice(Applied(self._revision, self._committed_at, incomplete))

    async def _poll(self) -> None:
        attempt = Attempt("the key store cannot be read; the last state is served")
        while True:
            await attempt.run(self.refresh)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._woken.wait()
            self._woken.clear()

    async def _listen(self) -> None:
        attempt = Attempt("the wake-up is broken; changes are learned by polling")
        while True:
            await attempt.run(self._wake)
            await asyncio.sleep(_RETRY_S)

    async def _wake(self) -> None:
        async for announced in self._wakeup.listen():
            if announced > self._revision:
                self._woken.set()

    async def _flush(self) -> None:
        attempt = Attempt("last-used times cannot be written; they are kept in memory")
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._flush_s):
                    await self._usage.news.wait()
                    await asyncio.sleep(_GATHER_S)
            if not await attempt.run(self.flush_usage):
                # What it gave back is news again: an outage is asked about at the usual pace all the same.
                await asyncio.sleep(self._flush_s)

    async def _follow_up(self) -> None:
        """What may take its time after a change: opening data keys, and whoever else follows the revision."""
        attempt = Attempt("some secrets or signing keys cannot be opened; those that are open are served")
        while True:
            await self._behind.wait()
            self._behind.clear()
            if not await attempt.run(self._catch_up):
                await asyncio.sleep(_RETRY_S)
                self._behind.set()

    async def _catch_up(self) -> None:
        followed = self._revision
        steps = [companion.refresh() for companion in self._companions]
        openings = [self._data_keys.get(data_key_id) for data_key_id in sorted(self._shelf.awaited)]
        outcomes = await asyncio.gather(*steps, *openings, return_exceptions=True)
        self._shelf.put_waiting()
        if followed == self._revision:
            behind = outcomes[: len(self._companions)]
            self._lagging = sum(isinstance(outcome, BaseException) for outcome in behind)
            self._tell()
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
