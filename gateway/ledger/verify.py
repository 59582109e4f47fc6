"""Whether an export is what the ledger said: found out from its lines and public keys alone. Pure.

Invariant: what passes to its end was signed by the keys that are trusted, each entry of it is the one that was
committed to, none is missing between the first and the last, and the lines stand as they were written. What does not
raises `chain.Broken` with the first entry that cannot be vouched for. Where entries were altered and linked anew,
each fits the next, and the first checkpoint behind them tells; which of those since the checkpoint before it cannot be
known, so all are named, and the first of them is the one.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from gateway.ledger import lines
from keys import checkpoints, statements
from storage import chain, merkle

# Wider than any entry may be: what has no end of line is no reason to read on for ever.
LONGEST_LINE: Final = 4_194_304
# Nodes sign after a minute at most, unless they are told otherwise: what waited for so long is to be told.
_LATE_MS: Final = 3_600_000
_MOST_LATE: Final = 20
_HASH: Final = re.compile(r"[0-9a-f]{64}")


class Pins(msgspec.Struct, frozen=True):
    """Keys that whoever verifies has from elsewhere: whole ones, or ids that say which of the export's to trust."""

    jwks: tuple[statements.Jwk, ...] = ()
    kids: frozenset[str] = frozenset()

    @property
    def is_empty(self) -> bool:
        return not (self.jwks or self.kids)

    def choose(self, offered: Iterable[object]) -> statements.PublicKeys:
        """Which keys count. Nothing pinned: those that the export brings, which vouch for nobody but it."""
        if self.is_empty:
            return statements.public_keys(offered)
        own = statements.public_keys(self.jwks)
        if not self.kids:
            return own
        return own | {kid: key for kid, key in statements.public_keys(offered).items() if kid in self.kids}


class Late(msgspec.Struct, frozen=True):
    """A checkpoint, and for how long the oldest of the entries waited that it is the first to cover."""

    seq: int
    waited_ms: int
    is_first: bool


class Report(msgspec.Struct, frozen=True):
    """What was verified. `signed_at` is when the end was signed: nothing is known of what came later.

    `longest_wait_ms`: from any entry here to the first checkpoint that covers it. `late`: where that was over an hour,
    at most so many; the first checkpoint of all always, if it is one of them.
    """

    service: str
    first: int
    last: int
    entries: int
    checkpoints: int
    seq: int
    hash: str
    root: str
    signed_at: int | None
    keys: tuple[str, ...]
    pinned: bool
    longest_wait_ms: int
    late: tuple[Late, ...]


class Verifier:
    """Takes a line at a time. `kept` are checkpoints that the auditor has from earlier."""

    def __init__(self, pins: Pins = Pins(), kept: Iterable[statements.Mark] = ()) -> None:  # noqa: B008  frozen
        self._pins = pins
        self._kept = {mark.seq: mark.root for mark in kept}
        self._keys: statements.PublicKeys | None = None
        self._service = self._header = ""
        self._first = 1
        self._last: int | None = None
        self._place = chain.START
        self._peaks = merkle.Peaks()
        self._previous: statements.Mark | None = None
        self._checkpoints = 0
        self._used: set[str] = set()
        self._led_on = False
        self._oldest: int | None = None
        self._longest_wait_ms = 0
        self._late: list[Late] = []
        self._end: statements.ExportEnd | None = None

    @property
    def place(self) -> chain.Place:
        return self._place

    def read(self, line: bytes) -> None:
        kind, content = self._parse(line)
        if self._end is not None:
            raise self._broken("stands behind the end of the export")
        if (self._keys is None) != (kind == "header"):
            raise self._broken("cannot be verified: the header does not stand first, and once")
        match kind, content:
            case "header", dict():
                self._header = hashlib.sha256(line).hexdigest()
                self._read_header(content)
            case "entry", dict():
                self._read_entry(content)
            case "leaf", {"seq": seq, "hash": str() as hash_} if len(content) == 2:  # noqa: PLR2004  just these
                self._read_leaf(seq, hash_)
            case "checkpoint", str():
                self._read_checkpoint(content)
            case "end", str():
                self._read_end(content)
            case _:
                raise self._broken("is missing: in its place stands a line of no known kind")

    def finish(self) -> Report:
        """After the last line."""
        end = self._end
        if end is None:
            raise self._broken("is missing, or the end of the export is: it was cut off")
        self._require_kept(end.seq)
        return self._report(end.first, end.last, end.at)

    def finish_store(self, head: chain.Place) -> Report:
        """After the last line of what a store holds: where its head says that it ends."""
        if self._place.seq < head.seq:
            raise self._broken("is missing: the head of the ledger is further on")
        if self._place != head:
            raise chain.Broken(
                min(self._place.seq, head.seq + 1), "is not where the head says the ledger ends"
            )
        self._require_kept(head.seq)
        return self._report(1, self._place.seq, None)

    def _parse(self, line: bytes) -> tuple[str, Any]:
        content = line.removesuffix(b"\n")
        try:
            parsed = msgspec.json.decode(content)
            [(kind, value)] = parsed.items()
            canonical = chain.canonical(parsed) == content
        except (msgspec.DecodeError, AttributeError, ValueError, RecursionError):
            raise self._broken("cannot be read: in its place stands no line of an export") from None
        if not canonical or not line.endswith(b"\n"):
            raise self._broken("was altered: its line is not written in the canonical form, or not whole")
        return kind, value

    def _read_header(self, header: Mapping[str, Any]) -> None:
        match header:
            case {
                "format": lines.FORMAT,
                "service": str() as service,
                "first": int() as first,
                "keys": list() as keys,
            }:
                pass
            case _:
                raise self._broken(f"cannot be verified: the header is not that of {lines.FORMAT}")
        try:
            self._keys = self._pins.choose(keys)
        except statements.StatementRefused as failure:
            raise self._broken(f"cannot be verified: the export {failure}") from None
        self._service, self._first = service, first

    def _read_entry(self, entry: Mapping[str, Any]) -> None:
        place = chain.follow(self._place, entry)
        if place.seq < self._first or self._led_on:
            raise chain.Broken(place.seq, "stands where the export should not have it")
        self._go_to(place)
        self._last = place.seq
        at = entry.get("at")
        if type(at) is int and (self._oldest is None or at < self._oldest):
            self._oldest = at

    def _read_leaf(self, seq: object, hash_: str) -> None:
        chain.require_next(self._place, seq)
        place = chain.Place(self._place.seq + 1, hash_)
        if _HASH.fullmatch(hash_) is None:
            raise chain.Broken(place.seq, "has a hash that is none")
        self._led_on = place.seq >= self._first
        self._go_to(place)

    def _go_to(self, place: chain.Place) -> None:
        self._peaks = self._peaks.add(bytes.fromhex(place.hash))
        self._place = place
        kept = self._kept.pop(place.seq, None)
        if kept is not None and kept != self._peaks.root().hex():
            raise self._unproved("it contradicts a checkpoint that was kept from earlier")

    def _read_checkpoint(self, text: str) -> None:
        checkpoint, kid = self._read_statement(text, statements.Checkpoint)
        try:
            peaks = checkpoints.read_peaks(checkpoint)
        except statements.StatementRefused as failure:
            raise self._broken(f"cannot be verified: a checkpoint {failure}") from None
        if self._place == chain.START and checkpoint.seq < self._first:
            self._begin_at(checkpoint, peaks)
        self._require_here(checkpoint, "the checkpoint")
        if checkpoint.previous != self._previous:
            raise self._unproved("the checkpoint before it is missing, or is another one")
        self._note_wait(checkpoint)
        self._previous = checkpoint.mark
        self._checkpoints += 1
        self._used.add(kid)

    def _note_wait(self, checkpoint: statements.Checkpoint) -> None:
        waited_ms = 0 if self._oldest is None else max(0, checkpoint.at - self._oldest)
        self._oldest = None
        self._longest_wait_ms = max(self._longest_wait_ms, waited_ms)
        if waited_ms > _LATE_MS and len(self._late) < _MOST_LATE:
            self._late.append(Late(checkpoint.seq, waited_ms, is_first=checkpoint.previous is None))

    def _begin_at(self, checkpoint: statements.Checkpoint, peaks: merkle.Peaks) -> None:
        self._place, self._peaks = chain.Place(checkpoint.seq, checkpoint.hash), peaks
        self._previous = checkpoint.previous
        kept = self._kept.pop(checkpoint.seq, None)
        if kept is not None and kept != checkpoint.root:
            raise self._unproved("it contradicts a checkpoint that was kept from earlier")

    def _read_end(self, text: str) -> None:
        end, kid = self._read_statement(text, statements.ExportEnd)
        self._require_here(end, "the end of the export")
        last = self._first - 1 if self._last is None else self._last
        if (end.first, end.last) != (self._first, last):
            missing = self._first if end.first == self._first else end.first
            missing = last + 1 if end.first == self._first else missing
            raise chain.Broken(missing, f"should stand in an export of the entries {end.first} to {end.last}")
        if end.previous != self._previous or end.iss != self._service:
            raise self._unproved("the end of the export tells of another one")
        if end.header != self._header:
            raise chain.Broken(self._first, "cannot be verified: the header was altered")
        self._used.add(kid)
        self._end = end

    def _read_statement(self, text: str, kind: type[statements.Kind]) -> tuple[statements.Kind, str]:
        try:
            return statements.read(text, kind, self._keys or {})
        except statements.StatementRefused as failure:
            raise self._unproved(f"the statement behind it {failure}") from None

    def _require_here(self, said: statements.Checkpoint | statements.ExportEnd, name: str) -> None:
        if said.seq > self._place.seq:
            raise self._broken(f"is missing: {name} of entry {said.seq} stands in its place")
        if said.seq < self._place.seq:
            raise chain.Broken(said.seq + 1, f"and on stand before {name} of entry {said.seq}")
        if (said.root, said.hash) != (self._peaks.root().hex(), self._place.hash):
            raise self._unproved(f"{name} was made of something else")

    def _require_kept(self, seq: int) -> None:
        for kept in sorted(self._kept):
            raise chain.Broken(kept, f"is where a kept checkpoint stands, and is not among those up to {seq}")

    def _broken(self, problem: str) -> chain.Broken:
        return chain.Broken(self._place.seq + 1, problem)

    def _unproved(self, why: str) -> chain.Broken:
        """Something between the last checkpoint that held and here is not what it was."""
        first, here = 1 + (0 if self._previous is None else self._previous.seq), self._place.seq
        upto = f", or one up to {here}," if here > first else ""
        return chain.Broken(first, f"{upto} is not vouched for: {why}".lstrip())

    def _report(self, first: int, last: int, at: int | None) -> Report:
        return Report(
            service=self._service,
            first=first,
            last=last,
            entries=max(0, last - first + 1),
            checkpoints=self._checkpoints,
            seq=self._place.seq,
            hash=self._place.hash,
            root=self._peaks.root().hex(),
            signed_at=at,
            keys=tuple(sorted(self._used)),
            pinned=not self._pins.is_empty,
            longest_wait_ms=self._longest_wait_ms,
            late=tuple(self._late),
        )
