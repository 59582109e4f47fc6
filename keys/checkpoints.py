"""Checkpoints: from time to time the ledger's keys sign what the whole ledger says up to here.

Invariant: a checkpoint is made only of entries that follow, one by one, from the checkpoint before, whose signature is
looked at first; each is read and linked once, so the cost is that of what is new. There is one line of checkpoints:
nodes that make one at the same time find at the last step that another was first, and then theirs is none. The public
half of every key that ever signed stays beside what it signed. What a node has seen it holds the store to, for as long
as it runs: else whoever can write there could take the checkpoints away, and have us sign what they put in their place.
Refuses, with `chain.Broken`, to sign anything on top of a ledger that does not hold.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keys import ring, statements
from keys.attempt import Attempt
from keys.changes import Clock
from keys.statements import Checkpoint
from storage import audit, chain, engine, merkle, schema

# The name of the ring that signs them.
LEDGER: Final = "ledger"

_LOG: Final = logging.getLogger("portreeve.keys")
_TABLE: Final = schema.audit_checkpoints
_PAGE: Final = 500

Sleep = Callable[[float], Awaitable[None]]


class Stored(msgspec.Struct, frozen=True):
    """`signer` is the public half, as a JWK, of the key that signed the statement."""

    seq: int
    at: int
    root: str
    statement: str
    signer: statements.Jwk


class Rhythm(msgspec.Struct, frozen=True):
    """A checkpoint is due after so many entries, or when the oldest one without has waited for so long."""

    entries: int
    interval_ms: int


class _Known(msgspec.Struct, frozen=True):
    head: int
    latest: Stored | None


class Checkpoints:
    def __init__(self, engine_: AsyncEngine, ring_: ring.Ring, clock: Clock, issuer: str) -> None:
        self._engine = engine_
        self._ring = ring_
        self._clock = clock
        # The latest that was in the store when it was last looked at.
        self._seen: Stored | None = None
        self.issuer = issuer

    async def make(self) -> Stored | None:
        """The checkpoint of the ledger as it is now; None while the ledger is empty."""
        while True:
            known = await self._look()
            if known.latest is not None and known.latest.seq >= known.head:
                return known.latest
            if known.head == 0:
                return None
            made = await self._sign(known)
            if await self._store(made, known.latest):
                self._seen = made
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
            await attempt.run(lambda: self.make_due(rhythm))
            await sleep(pause_s)

    def sign_end(self, end: statements.ExportEnd) -> str:
        return statements.sign(end, self._ring.get_signer())

    async def jwks(self) -> list[statements.Jwk]:
        """Every key that ever signed a checkpoint, and those that do or will."""
        async with engine.reading(self._engine) as conn:
            signers = (await conn.execute(sa.select(_TABLE.c.signer).order_by(_TABLE.c.seq))).scalars().all()
        return list({jwk["kid"]: jwk for jwk in (*signers, *self._ring.jwks())}.values())

    async def _look(self) -> _Known:
        seen = self._seen
        async with engine.reading(self._engine) as conn:
            known = _Known((await audit.head(conn))[0], await find_latest(conn))
            still = None if seen is None else await find_covering(conn, seen.seq)
        if seen is not None and still != seen:
            raise chain.Broken(seen.seq, "had a checkpoint that is gone from the store, or is another one")
        self._seen = known.latest
        return known

    async def _sign(self, known: _Known) -> Stored:
        signer = self._ring.get_signer()
        place, peaks, previous = chain.START, merkle.Peaks(), None
        if known.latest is not None:
            earlier = self._read(known.latest)
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
        return Stored(checkpoint.seq, checkpoint.at, checkpoint.root, statement, dict(signer.jwk))

    def _read(self, stored: Stored) -> Checkpoint:
        try:
            keys = statements.public_keys([stored.signer, *self._ring.jwks()])
            checkpoint, _ = statements.read(stored.statement, Checkpoint, keys)
            read_peaks(checkpoint)
        except statements.StatementRefused as failure:
            raise chain.Broken(stored.seq, f"has a checkpoint that {failure}") from None
        if checkpoint.mark != statements.Mark(stored.seq, stored.root):
            raise chain.Broken(stored.seq, "has a checkpoint that was made of another one")
        return checkpoint

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
