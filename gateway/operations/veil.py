"""Who did something, as whoever reaches one partner alone is told it.

Invariant: of their own partner's keys they see the ids; of everybody else no more than that it was somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.operations.operator import Operator
from keys import api_keys

SOMEBODY_ELSE: Final = "operator"
_BY_KEY: Final = "key:"


async def find_own_actors(conn: AsyncConnection, by: Operator, actors: Iterable[str | None]) -> set[str]:
    """Those among them that are the operator themselves, or a key of their own partner."""
    ids = [actor.removeprefix(_BY_KEY) for actor in actors if actor is not None and actor.startswith(_BY_KEY)]
    partners = await api_keys.find_partners(conn, ids)
    return {by.actor} | {_BY_KEY + key_id for key_id, partner in partners.items() if partner == by.partner}
