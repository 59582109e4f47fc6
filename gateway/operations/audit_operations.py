"""What can be read of the ledger, the same for the command line and the control surface.

Invariant: whoever reaches one partner alone finds what tells of that partner, and of who did it no more than whether it
was the partner itself: the ids and addresses of anybody else are not theirs to see. Nor are the hashes that chain the
entries: with the rest of an entry in hand, whoever guesses a name that was left out finds out by them that it is right.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gateway.operations import veil
from gateway.operations.operator import Operator
from keys import refusals
from policies import control
from storage import audit, engine

_ASKER: Final = "requested_by"


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
        wanted = msgspec.structs.replace(wanted, partner=by.narrow(wanted.partner))
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
    return wanted.actor in await veil.find_own_actors(conn, by, {wanted.actor})


async def _shown(
    conn: AsyncConnection, by: Operator, found: list[audit.AuditEntry]
) -> list[audit.AuditEntry]:
    if by.reaches_all:
        return found
    named = {entry.event.actor for entry in found} | {_find_asker(entry) for entry in found}
    own = await veil.find_own_actors(conn, by, named)
    return [_unchained(_veiled(entry, own)) for entry in found]


def _find_asker(entry: audit.AuditEntry) -> str | None:
    """Whom an approval names beside the one who decided it."""
    asker = entry.event.details.get(_ASKER)
    return asker if isinstance(asker, str) else None


def _veiled(entry: audit.AuditEntry, own: Collection[str]) -> audit.AuditEntry:
    event, asker = entry.event, _find_asker(entry)
    if asker is not None and asker not in own:
        event = msgspec.structs.replace(event, details=event.details | {_ASKER: veil.SOMEBODY_ELSE})
    if event.actor not in own:
        event = msgspec.structs.replace(
            event, actor=veil.SOMEBODY_ELSE, source=None, request_id=None, approval=None
        )
    return msgspec.structs.replace(entry, event=event)


def _unchained(entry: audit.AuditEntry) -> audit.AuditEntry:
    """Also where it is their own: the entry before it is often somebody else's, and may be as easy to guess."""
    return msgspec.structs.replace(entry, previous="", hash="")
