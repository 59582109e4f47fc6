"""What can be read of the ledger, the same for the command line and the control surface.

Invariant: whoever reaches one partner alone finds what tells of that partner, and of who did it no more than whether it
was the partner itself: the ids and addresses of anybody else are not theirs to see. Nor are the hashes that chain the
entries: with the rest of an entry in hand, whoever guesses a name that was left out finds out by them that it is right.
"""

from __future__ import annotations

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.operations.operator import Operator
from keys import api_keys, refusals
from policies import control
from storage import audit, engine

SOMEBODY_ELSE = "operator"
_BY_KEY = "key:"


class UnknownEntry(refusals.NotFound):
    def __init__(self, seq: int) -> None:
        super().__init__(f"there is no audit entry {seq}")


class AuditOperations:
    def __init__(self, engine_: AsyncEngine) -> None:
        self._engine = engine_

    async def search(
        self, by: Operator, wanted: audit.Search, *, before: int | None = None, limit: int = 100
    ) -> list[audit.AuditEntry]:
        """The newest first; `before` is the number of the last one that was seen."""
        by.require(control.AUDIT_READ)
        if wanted.partner is not None:
            by.require_reach(wanted.partner)
        elif not by.reaches_all:
            wanted = msgspec.structs.replace(wanted, partner=by.partner)
        async with engine.reading(self._engine) as conn:
            if not by.reaches_all and wanted.actor is not None and not await _is_their_own(conn, by, wanted):
                # To be found by an actor's name would tell what the answer hides.
                return []
            found = await audit.search(conn, wanted, before=before, limit=limit)
            return await _shown(conn, by, found)

    async def get(self, by: Operator, seq: int) -> audit.AuditEntry:
        by.require(control.AUDIT_READ)
        async with engine.reading(self._engine) as conn:
            found = await audit.read_after(conn, seq - 1, 1)
            if not found or found[0].seq != seq or not by.reaches(found[0].event.partner):
                raise UnknownEntry(seq)
            return (await _shown(conn, by, found))[0]


async def _is_their_own(conn: AsyncConnection, by: Operator, wanted: audit.Search) -> bool:
    return wanted.actor in await _own_actors(conn, by, {wanted.actor})


async def _shown(
    conn: AsyncConnection, by: Operator, found: list[audit.AuditEntry]
) -> list[audit.AuditEntry]:
    if by.reaches_all:
        return found
    own = await _own_actors(conn, by, {entry.event.actor for entry in found})
    return [_unchained(entry if entry.event.actor in own else _veiled(entry)) for entry in found]


async def _own_actors(conn: AsyncConnection, by: Operator, actors: set[str | None]) -> set[str]:
    ids = [actor.removeprefix(_BY_KEY) for actor in actors if actor is not None and actor.startswith(_BY_KEY)]
    partners = await api_keys.find_partners(conn, ids)
    return {_BY_KEY + key_id for key_id, partner in partners.items() if partner == by.partner}


def _veiled(entry: audit.AuditEntry) -> audit.AuditEntry:
    details = entry.event.details
    if "requested_by" in details:
        details = details | {"requested_by": SOMEBODY_ELSE}
    event = msgspec.structs.replace(
        entry.event, actor=SOMEBODY_ELSE, details=details, source=None, request_id=None, approval=None
    )
    return msgspec.structs.replace(entry, event=event)


def _unchained(entry: audit.AuditEntry) -> audit.AuditEntry:
    """Also where it is their own: the entry before it is often somebody else's, and may be as easy to guess."""
    return msgspec.structs.replace(entry, previous="", hash="")
