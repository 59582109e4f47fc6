"""Writes the ledger out, for those who verify it without us.

Invariant: an export begins where the ledger does or at a signed checkpoint, and ends at one; whatever lies between
those and what was asked for is given by its hash. It is read a page at a time, so memory does not grow with it, and
nothing is held open while a slow reader takes its time. Whether what the store holds is right is not decided here but
by whoever verifies; what is missing cannot be exported, and raises `chain.Broken`.
"""

import hashlib
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.ledger import lines, verify
from keys import checkpoints, statements
from keys.changes import Clock
from keys.refusals import InvalidRequest
from storage import audit, chain, engine, merkle

_PAGE: Final = 500


class InvalidRange(InvalidRequest):
    field = "from"


class Range(msgspec.Struct, frozen=True):
    first: int
    last: int


class _Way(msgspec.Struct):
    """How far the lines have come."""

    place: chain.Place = chain.START
    peaks: merkle.Peaks = merkle.Peaks()
    previous: statements.Mark | None = None

    def add(self, entry: audit.AuditEntry) -> None:
        chain.require_next(self.place, entry.seq)
        self.place = entry.place
        self.peaks = self.peaks.add(bytes.fromhex(entry.hash))


class Exporter:
    def __init__(self, engine_: AsyncEngine, checkpoints_: checkpoints.Checkpoints, clock: Clock) -> None:
        self._engine = engine_
        self._checkpoints = checkpoints_
        self._clock = clock

    async def export(self, first: int = 1, last: int | None = None) -> AsyncIterator[bytes]:
        """Both are numbers of entries that are part of it; a checkpoint is made first, for it to end at."""
        newest = await self._checkpoints.make()
        asked = _check(first, last, 0 if newest is None else newest.seq)
        async with engine.reading(self._engine) as conn:
            base = await checkpoints.find_before(conn, asked.first)
            covering = await checkpoints.find_covering(conn, max(asked.last, 1))
        way = _Way()
        header = lines.header(self._checkpoints.issuer, asked.first, await self._checkpoints.jwks())
        yield header
        if base is not None:
            await self._begin_at(way, base)
            yield lines.checkpoint(base.statement)
        until = asked.last if covering is None else covering.seq
        async for line in self._lead(way, asked, until):
            yield line
        if way.place.seq != until:
            raise chain.Broken(way.place.seq + 1, "is missing in the store")
        yield self._end(way, asked, hashlib.sha256(header).hexdigest())

    async def verify_store(self, verifier: verify.Verifier) -> verify.Report:
        """The same verifier as for an export, over all that the store holds at one moment."""
        async with engine.reading(self._engine) as conn:
            head = chain.Place(*await audit.head(conn))
            behind = await audit.read_after(conn, head.seq, 1)
            stranded = await checkpoints.find_covering(conn, head.seq + 1)
        async for line in self._whole(head.seq):
            verifier.read(line)
        report = verifier.finish_store(head)
        if stranded is not None:
            raise chain.Broken(head.seq + 1, f"is missing: there is a checkpoint of entry {stranded.seq}")
        if behind:
            raise chain.Broken(behind[0].seq, "stands behind the head of the ledger")
        return report

    async def _whole(self, head: int) -> AsyncIterator[bytes]:
        """Not expected to be right: what is there comes as it is, so that the verifier finds what is wrong."""
        yield lines.header(self._checkpoints.issuer, 1, await self._checkpoints.jwks())
        seq = 0
        while seq < head:
            entries = [entry for entry in await self._read(seq, _PAGE) if entry.seq <= head]
            if not entries:
                return
            for entry, stored in await self._with_checkpoints(entries):
                yield lines.entry(entry.members())
                for each in stored:
                    yield lines.checkpoint(each.statement)
            seq = entries[-1].seq

    async def _begin_at(self, way: _Way, base: checkpoints.Stored) -> None:
        checkpoint = await self._checkpoints.read(base)
        way.peaks = checkpoints.read_peaks(checkpoint)
        way.place = chain.Place(checkpoint.seq, checkpoint.hash)
        way.previous = checkpoint.mark

    async def _lead(self, way: _Way, asked: Range, until: int) -> AsyncIterator[bytes]:
        while way.place.seq < until:
            entries = await self._read(way.place.seq, min(_PAGE, until - way.place.seq))
            if not entries:
                return
            for entry, stored in await self._with_checkpoints(entries):
                way.add(entry)
                within = asked.first <= entry.seq <= asked.last
                yield lines.entry(entry.members()) if within else lines.leaf(entry.place)
                for each in stored:
                    way.previous = statements.Mark(each.seq, each.root)
                    yield lines.checkpoint(each.statement)

    def _end(self, way: _Way, asked: Range, header: str) -> bytes:
        end = statements.ExportEnd(
            iss=self._checkpoints.issuer,
            header=header,
            first=asked.first,
            last=asked.last,
            seq=way.place.seq,
            root=way.peaks.root().hex(),
            hash=way.place.hash,
            at=self._clock(),
            previous=way.previous,
        )
        return lines.end(self._checkpoints.sign_end(end))

    async def _read(self, after: int, limit: int) -> list[audit.AuditEntry]:
        async with engine.reading(self._engine) as conn:
            return await audit.read_after(conn, after, limit)

    async def _with_checkpoints(
        self, entries: list[audit.AuditEntry]
    ) -> list[tuple[audit.AuditEntry, list[checkpoints.Stored]]]:
        async with engine.reading(self._engine) as conn:
            stored = await checkpoints.read_between(conn, entries[0].seq, entries[-1].seq)
        by_seq: dict[int, list[checkpoints.Stored]] = {}
        for each in stored:
            by_seq.setdefault(each.seq, []).append(each)
        return [(entry, by_seq.get(entry.seq, [])) for entry in entries]


def _check(first: int, last: int | None, newest: int) -> Range:
    if last is not None and last > newest:
        raise InvalidRange(f"the ledger ends at entry {newest}")
    chosen = newest if last is None else last
    if first < 1 or first > chosen + 1:
        raise InvalidRange(f"there are no entries from {first} to {chosen}")
    return Range(first, chosen)
