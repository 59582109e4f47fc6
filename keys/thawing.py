"""Whether a key or a client may be thawed by somebody who reaches its partner alone.

The ledger tells who froze it: each freeze by such a person carries, as `within`, the partner that is all they reach.

Invariant: what somebody who reaches all partners froze, or a leak, is taken back by nobody who reaches one alone; nor
is a freeze of which nothing is told. A leak counts also where the key was frozen before it was found.
Every function works inside the transaction it is given.
"""

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from keys import refusals
from storage import schema

FROZEN: Final = "api_key.frozen"
UNFROZEN: Final = "api_key.unfrozen"
CLIENT_FROZEN: Final = "oauth_client.frozen"
CLIENT_UNFROZEN: Final = "oauth_client.unfrozen"
LEAK_FOUND: Final = "leak.found"
_LEDGER: Final = schema.audit_events
_WITHIN: Final = "within"
_FREEZES: Final = frozenset({FROZEN, CLIENT_FROZEN})
_THAWS: Final = frozenset({UNFROZEN, CLIENT_UNFROZEN})
# What a find says of a key that verifies nothing any more, or of a version that does not.
_HARMLESS: Final = frozenset({"superseded", "was-revoked"})


class FrozenFromAbove(refusals.Conflict):
    def __init__(self, subject: str) -> None:
        super().__init__(
            f"{subject} was frozen by the gateway's own operators, or for a leak: only they thaw it"
        )


def describe(within: str | None) -> dict[str, Any] | None:
    """What a freeze's entry in the ledger tells of who made it. None: they reach all partners."""
    return None if within is None else {_WITHIN: within}


async def require_thawable(conn: AsyncConnection, subject: str, within: str | None) -> None:
    """By whoever reaches the partner `within` alone, or, if that is None, all."""
    if within is not None and not await is_own_freeze(conn, subject, within):
        raise FrozenFromAbove(subject)


async def is_own_freeze(conn: AsyncConnection, subject: str, partner: str) -> bool:
    """Whether nobody but those who reach this partner alone has had a part in its being frozen."""
    about = _LEDGER.c.subject == subject
    last_thaw = (
        sa.select(sa.func.coalesce(sa.func.max(_LEDGER.c.seq), 0))
        .where(about, _LEDGER.c.action.in_(_THAWS))
        .scalar_subquery()
    )
    query = sa.select(_LEDGER.c.action, _LEDGER.c.details).where(
        about, _LEDGER.c.action.in_((*_FREEZES, LEAK_FOUND)), _LEDGER.c.seq > last_thaw
    )
    found = (await conn.execute(query)).all()
    freezes = [each.details.get(_WITHIN) for each in found if each.action in _FREEZES]
    is_leaked = any(each.action == LEAK_FOUND and _stops(each.details) for each in found)
    return bool(freezes) and set(freezes) == {partner} and not is_leaked


def _stops(details: Mapping[str, Any]) -> bool:
    return details.get("outcome") not in _HARMLESS
