"""Checkpoints: from time to time the ledger's keys sign what the whole ledger says up to here.

Invariant: a checkpoint is made only of entries that follow, one by one, from the checkpoint before, whose signature is
looked at first; each is read and linked once, so the cost is that of what is new. There is one line of checkpoints:
nodes that make one at the same time find at the last step that another was first, and then theirs is none. The public
half of every key that ever signed stays beside what it signed; which of those are ours, the ring says and not the
table. What a host has seen it holds the store to, by its memory (see `checkpoint_memory`): else whoever can write there
could take the checkpoints away, and have us sign what they put in their place.
Refuses, with `chain.Broken`, to sign anything on top of a ledger that does not hold.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keys import checkpoint_memory, ring, statements
from keys.attempt import Attempt
from keys.changes import Clock
from keys.checkpoint_memory import Memory, Remembered
from keys.statements import Checkpoint
from storage import audit, chain, engine, merkle, schema

# The name of the ring that signs them.
LEDGER: Final = "ledger"

_LOG: Final = logging.getLogger("portreeve.keys")
_TABLE: Final = schema.audit_checkpoints
_PAGE: Final = 500
# A node that has not heard yet of a key's end goes on signing, by a clock of its own.
_LATE_MS: Final = 300_000

Sleep = Callable[[float], Awaitable[None]]


class Stored(msgspec.Struct, frozen=True):
    """`signer` is the public half, as a JWK, of the key that signed the statement."""

    seq: int
    at: int
    root: str
    statement: str
    signer: statements.Jwk

    @property
    def mark(self) -> statements.Mark:
        return statements.Mark(self.seq, self.root)


class Rhythm(msgspec.Struct, frozen=True):
    """A checkpoint is due after so many entries, or when the oldest one without has waited for so long."""

    entries: int
    interval_ms: int


class LedgerReplaced(chain.Broken):
    """The ledger does not contain what this host remembers of it."""

    def __init__(self, seq: int) -> None:
        super().__init__(
            seq,
            "had a checkpoint that is gone from the store, or is another one: the ledger was replaced or altered. "
            "Nothing is signed. If it was restored from a backup, say so: `portreeve audit acknowledge`",
        )


class _Known(msgspec.Struct, frozen=True):
    head: int
    latest: Stored | None


class Checkpoints:
    def __init__(
        self, engine_: AsyncEngine, ring_: ring.Ring, clock: Clock, issuer: str, memory: Memory | None = None
    ) -> None:
        self._engine = engine_
        self._ring = ring_
        self._clock = clock
        self._memory = memory or checkpoint_memory.InProcess()
        self.issuer = issuer
        # Why nothing is signed, while that is so for another reason than an outage.
        self.refused: str | None = None

    async def make(self) -> Stored | None:
        """The checkpoint of the ledger as it is now; None while the ledger is empty."""
        while True:
            known = await self._look()
            if known.latest is not None and known.latest.seq >= known.head:
                return known.latest
            if known.head == 0:
                return None
            made, checkpoint = await self._sign(known)
            if await self._store(made, known.latest):
                await self._keep(checkpoint)
                return made

    async def make_due(self, rhythm: Rhythm) -> Stored | None:
        known = await self._look()
        seq, at = (0, 0) if known.latest is None else (known.latest.seq, known.latest.at)
        waiting = known.head - seq
        if waiting <= 0 or (waiting < rhythm.entries and self._clock() - at < rhythm.interval_ms):
            return None
        return await self.make()

    async def run(self, rhythm: Rhythm, sleep: Sleep = asyncio.sleep, pause_s: float = 2.0) -> None:
        """Makes what is due until it is cancelled."""
        attempt = Attempt("no checkpoint of the audit ledger can be made; entries wait to be signed")
        while True:
            await attempt.run(lambda: self._step(rhythm))
            await sleep(pause_s)

    async def _step(self, rhythm: Rhythm) -> None:
        try:
            await self.make_due(rhythm)
        except (chain.Broken, checkpoint_memory.MemoryUnreadable) as failure:
            if self.refused != str(failure):
                _LOG.critical("no checkpoint of the audit ledger is signed: %s", failure)
            self.refused = str(failure)
        else:
            self.refused = None

    async def tell_memory(self) -> None:
        """At a node's start: what it would notice, and what not."""
        if not self._memory.lasts:
            _LOG.warning(
                "there is no state directory to remember checkpoints of the audit ledger in: if it is altered while no "
                "node runs, this one will not know"
            )
            return
        try:
            if await asyncio.to_thread(self._memory.recall) is None:
                _LOG.warning(
                    "this host remembers no checkpoint of the audit ledger: if it was altered before, this node "
                    "does not know"
                )
        except checkpoint_memory.MemoryUnreadable as failure:
            _LOG.critical("%s", failure)

    async def require_remembered(self) -> None:
        """Raises `LedgerReplaced` if the store's ledger does not contain what is remembered."""
        await self._look()

    async def read_latest(self) -> Checkpoint | None:
        """As it is stored, signed by one of our keys, whatever is remembered."""
        async with engine.reading(self._engine) as conn:
            latest = await find_latest(conn)
        return None if latest is None else await self._read_top(latest, None)

    def sign_end(self, end: statements.ExportEnd) -> str:
        return statements.sign(end, self._ring.get_signer())

    async def jwks(self) -> list[statements.Jwk]:
        """Every key of ours that ever signed a checkpoint, and those that do or will."""
        past = await self._ring.history()
        destroyed = {key.kid for key in past if key.jwk is None}
        async with engine.reading(self._engine) as conn:
            signers = (await conn.execute(sa.select(_TABLE.c.signer).order_by(_TABLE.c.seq))).scalars().all()
        # Nobody but the table has the public half of a key that was destroyed; its name says which it is.
        old = [jwk for jwk in signers if jwk.get("kid") in destroyed]
        own = [key.jwk for key in past if key.jwk is not None]
        return list({jwk["kid"]: jwk for jwk in (*old, *own, *self._ring.jwks())}.values())

    async def read(self, stored: Stored) -> Checkpoint:
        """Signed by a key that the ring has, or had when it was signed."""
        own = {jwk["kid"]: jwk for jwk in self._ring.jwks()}
        if stored.signer.get("kid") not in own:
            own |= await self._find_past(stored)
        try:
            checkpoint, kid = statements.read(
                stored.statement, Checkpoint, statements.public_keys(own.values())
            )
            read_peaks(checkpoint)
        except statements.StatementRefused as failure:
            raise chain.Broken(stored.seq, f"has a checkpoint that {failure}") from None
        if (stored.signer.get("kid"), stored.signer.get("x")) != (kid, own[kid]["x"]):
            raise chain.Broken(stored.seq, "has a checkpoint beside a key that did not sign it")
        if (checkpoint.mark, checkpoint.at) != (stored.mark, stored.at):
            raise chain.Broken(stored.seq, "has a checkpoint that was made of another one")
        return checkpoint

    async def _find_past(self, stored: Stored) -> dict[str, statements.Jwk]:
        """The key that the row names, if it was the ring's; where that was destroyed, with the row's public half."""
        for key in await self._ring.history():
            if key.kid != stored.signer.get("kid"):
                continue
            if key.ended_at is not None and stored.at > key.ended_at + _LATE_MS:
                raise chain.Broken(
                    stored.seq, f"has a checkpoint that is signed by {key.kid}, which had ended"
                )
            return {key.kid: key.jwk or stored.signer}
        return {}

    async def _read_top(self, stored: Stored, remembered: Remembered | None) -> Checkpoint:
        """To go on from. No seal vouches for the name of a destroyed key: then our own memory has to."""
        checkpoint = await self.read(stored)
        if remembered is not None and checkpoint_memory.of(checkpoint) == remembered:
            return checkpoint
        destroyed = {key.kid for key in await self._ring.history() if key.jwk is None}
        if stored.signer["kid"] in destroyed:
            raise chain.Broken(stored.seq, "has a checkpoint whose key was destroyed: nothing can follow it")
        return checkpoint

    async def _look(self) -> _Known:
        # First, since what is remembered was in the store by then.
        remembered = await asyncio.to_thread(self._memory.recall)
        async with engine.reading(self._engine) as conn:
            known = _Known((await audit.head(conn))[0], await find_latest(conn))
            still = None if remembered is None else await find_covering(conn, remembered.seq)
        if remembered is not None and remembered.seq and (still is None or still.mark != remembered.mark):
            raise LedgerReplaced(remembered.seq)
        latest = known.latest
        if latest is not None and (remembered is None or latest.seq > remembered.seq):
            checkpoint = await self._read_top(latest, remembered)
            if remembered is not None:
                await self._require_contained(remembered, checkpoint)
            await self._keep(checkpoint)
        return known

    async def _require_contained(self, remembered: Remembered, later: Checkpoint) -> None:
        """Whatever stands in the table: the entries since then lead from the one to the other."""
        try:
            place, peaks = await self._follow(remembered.place, remembered.read_peaks(), later.seq)
        except chain.Broken as failure:
            raise LedgerReplaced(failure.seq - 1) from failure
        if (place.hash, peaks.root().hex()) != (later.hash, later.root):
            raise LedgerReplaced(remembered.seq)

    async def _keep(self, checkpoint: Checkpoint) -> None:
        await asyncio.to_thread(self._memory.keep, checkpoint_memory.of(checkpoint))

    async def _sign(self, known: _Known) -> tuple[Stored, Checkpoint]:
        signer = self._ring.get_signer()
        place, peaks, previous = chain.START, merkle.Peaks(), None
        if known.latest is not None:
            earlier = await self.read(known.latest)
            place, peaks, previous = chain.Place(earlier.seq, earlier.hash), read_peaks(earlier), earlier.mark
        place, peaks = await self._follow(place, peaks, known.head)
        checkpoint = Checkpoint(
            iss=self.issuer,
            seq=place.seq,
            entries=peaks.size,
            root=peaks.root().hex(),
            hash=place.hash,
            peaks=tuple(peak.hex() for peak in peaks.roots),
            at=self._clock(),
            previous=previous,
        )
        statement = statements.sign(checkpoint, signer)
        made = Stored(checkpoint.seq, checkpoint.at, checkpoint.root, statement, dict(signer.jwk))
        return made, checkpoint

    async def _follow(
        self, place: chain.Place, peaks: merkle.Peaks, until: int
    ) -> tuple[chain.Place, merkle.Peaks]:
        while place.seq < until:
            # A page at a time: nothing of the ledger changes, so no moment has to be held on to.
            async with engine.reading(self._engine) as conn:
                entries = await audit.read_after(conn, place.seq, min(_PAGE, until - place.seq))
            if not entries:
                raise chain.Broken(place.seq + 1, "is missing: the ledger ends before it")
            for entry in entries:
                place = chain.follow(place, entry.members())
                peaks = peaks.add(bytes.fromhex(place.hash))
        return place, peaks

    async def _store(self, made: Stored, latest: Stored | None) -> bool:
        async with engine.transaction(self._engine) as conn:
            # Whoever else makes one waits here; SQLite has one writer at a time anyway.
            await conn.execute(sa.select(schema.audit_head.c.id).with_for_update())
            if await find_latest(conn) != latest:
                _LOG.debug("another node made a checkpoint first")
                return False
            await conn.execute(sa.insert(_TABLE).values(**msgspec.structs.asdict(made)))
        return True


def read_peaks(checkpoint: Checkpoint) -> merkle.Peaks:
    """Where to go on from. They are what the root is made of, or they are refused."""
    try:
        peaks = merkle.Peaks(checkpoint.seq, tuple(map(bytes.fromhex, checkpoint.peaks)))
    except ValueError:
        raise statements.StatementRefused("has peaks that are no hashes") from None
    if checkpoint.entries != checkpoint.seq or not peaks.is_whole() or peaks.root().hex() != checkpoint.root:
        raise statements.StatementRefused("contradicts itself: its peaks do not make its root")
    return peaks


async def find_latest(conn: AsyncConnection) -> Stored | None:
    return await _find_first(conn, sa.select(_TABLE).order_by(_TABLE.c.seq.desc()))


async def find_before(conn: AsyncConnection, seq: int) -> Stored | None:
    """The last checkpoint that lies wholly before the entry."""
    return await _find_first(conn, sa.select(_TABLE).where(_TABLE.c.seq < seq).order_by(_TABLE.c.seq.desc()))


async def find_covering(conn: AsyncConnection, seq: int) -> Stored | None:
    """The first checkpoint that the entry is among."""
    return await _find_first(conn, sa.select(_TABLE).where(_TABLE.c.seq >= seq).order_by(_TABLE.c.seq))


async def read_between(conn: AsyncConnection, first: int, last: int) -> list[Stored]:
    query = sa.select(_TABLE).where(_TABLE.c.seq.between(first, last)).order_by(_TABLE.c.seq)
    return [Stored(**row) for row in (await conn.execute(query)).mappings()]


async def _find_first(conn: AsyncConnection, query: sa.Select[tuple[object, ...]]) -> Stored | None:
    row = (await conn.execute(query.limit(1))).mappings().first()
    return None if row is None else Stored(**row)
