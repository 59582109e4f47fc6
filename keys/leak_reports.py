"""What is remembered of found credentials: which reports have been answered, and which finds the ledger has.

A scanner's report says neither when it was made nor how often it may be sent: whoever captures one can send it for
ever. So it is remembered by the digest of what was signed, in the transaction of what it changed, with its answer.

Invariant: a report that was answered changes nothing when it comes again. Memory is bounded: a report that found
something is remembered for 400 days, one that did not for a day (to answer it again changes nothing). Past that, a
report that tells what the ledger has known for longer than the memory lasts may be an old one, and undoes no unfreezing
that was done since. A row holds keys' ids and verdicts, and nothing of what was found.
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from keys import conditions
from storage import audit, schema

REMEMBERED_MS: Final = 400 * 86_400_000

_SETTLED: Final = schema.settled_requests
_NOTHING_FOUND: Final = ""
_PAGE: Final = 500

Outcome = Literal["frozen", "was-frozen", "was-revoked", "superseded", "handled", "unknown"]


class Verdict(msgspec.Struct, frozen=True):
    """`unknown` says nothing of a key; everything else names the one whose secret it is."""

    outcome: Outcome
    key_id: str | None = None
    version: int | None = None
    partner: str | None = None

    @property
    def is_real(self) -> bool:
        return self.outcome != "unknown"


UNKNOWN: Final = Verdict("unknown")


class SignedReport(msgspec.Struct, frozen=True):
    """A report as it is remembered. `digest`: of the bytes that the scanner signed, and not of its signature, which
    can be written in more than one way.
    """

    scanner: str
    digest: str

    async def find_answer(self, conn: AsyncConnection, at: int, count: int) -> list[Verdict] | None:
        """For as many suspects as it has; None if it was not answered before, or that is forgotten."""
        query = sa.select(_SETTLED.c.subject, _SETTLED.c.created_at).where(*self._is_it())
        row = (await conn.execute(query)).first()
        if row is None or row.created_at <= at - _memory_ms(row.subject):
            return None
        if row.subject == _NOTHING_FOUND:
            return [UNKNOWN] * count
        return msgspec.json.decode(row.subject, type=list[Verdict])

    async def settle(self, conn: AsyncConnection, at: int, answer: Sequence[Verdict]) -> None:
        """Under the revision's lock, where it was found not to have been answered."""
        is_real = any(each.is_real for each in answer)
        subject = msgspec.json.encode(list(answer)).decode() if is_real else _NOTHING_FOUND
        row = {"digest": self.digest, "subject": subject, "created_at": at}
        await conn.execute(sa.delete(_SETTLED).where(sa.or_(_forgotten(at), sa.and_(*self._is_it()))))
        await conn.execute(sa.insert(_SETTLED).values(caller=self._caller, key=self.digest, **row))

    @property
    def _caller(self) -> str:
        return f"{conditions.OF_SCANNERS}{self.scanner}"

    def _is_it(self) -> tuple[sa.ColumnElement[bool], ...]:
        return (_SETTLED.c.caller == self._caller, _SETTLED.c.key == self.digest)


def _memory_ms(subject: str) -> int:
    return conditions.REMEMBERED_MS if subject == _NOTHING_FOUND else REMEMBERED_MS


def _forgotten(at: int) -> sa.ColumnElement[bool]:
    of_scanners = _SETTLED.c.caller.startswith(conditions.OF_SCANNERS, autoescape=True)
    found_nothing = sa.and_(
        _SETTLED.c.subject == _NOTHING_FOUND, _SETTLED.c.created_at <= at - _memory_ms(_NOTHING_FOUND)
    )
    return sa.and_(of_scanners, sa.or_(found_nothing, _SETTLED.c.created_at <= at - REMEMBERED_MS))


class Known(msgspec.Struct, frozen=True):
    """What the ledger has of one version of a key at one place, the newest first."""

    finds: tuple[audit.AuditEntry, ...]
    unfrozen_since: bool

    def says(self, outcome: Outcome) -> bool:
        """The find is on record, with the key as it stands now."""
        return bool(self.finds) and _standing(self.finds[0].event.details["outcome"]) == _standing(outcome)

    def may_be_replayed(self, at: int) -> bool:
        """The report may be one that was answered and is forgotten, and somebody has decided since."""
        return self.unfrozen_since and self.finds[-1].event.at <= at - REMEMBERED_MS


async def read_known(conn: AsyncConnection, key_id: str, version: int, place: str, *, unfrozen: str) -> Known:
    """`unfrozen`: by which action the ledger tells that it was."""
    told = await _search(conn, key_id, "leak.found")
    finds = tuple(
        each
        for each in told
        if each.event.details.get("version") == version and each.event.details.get("place") == place
    )
    wanted = audit.Search(action=unfrozen, subject=key_id)
    thaws = await audit.search(conn, wanted, limit=1)
    return Known(finds, bool(finds and thaws) and thaws[0].seq > finds[0].seq)


def _standing(outcome: object) -> object:
    return "frozen" if outcome == "was-frozen" else outcome


async def _search(conn: AsyncConnection, key_id: str, action: str) -> list[audit.AuditEntry]:
    found: list[audit.AuditEntry] = []
    before: int | None = None
    while page := await audit.search(
        conn, audit.Search(action=action, subject=key_id), before=before, limit=_PAGE
    ):
        found += page
        before = page[-1].seq
    return found
