"""Who did something, as whoever reaches one partner alone is told it.

Invariant: of their own partner's keys and OAuth clients they see the ids; of everybody else no more than that it was
somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.operations.operator import Operator
from keys import api_keys, oauth_client_rows

SOMEBODY_ELSE: Final = "operator"
_BY_KEY: Final = "key:"
_BY_CLIENT: Final = "client:"


async def find_own_actors(conn: AsyncConnection, by: Operator, actors: Iterable[str | None]) -> set[str]:
    """Those among them that are the operator themselves, or a key or client of their own partner."""
    named = [actor for actor in actors if actor is not None]
    keys = await api_keys.find_partners(conn, _ids(named, _BY_KEY))
    clients = await oauth_client_rows.find_partners(conn, _ids(named, _BY_CLIENT))
    whose = {_BY_KEY + each: partner for each, partner in keys.items()}
    whose |= {_BY_CLIENT + each: partner for each, partner in clients.items()}
    return {by.actor} | {actor for actor, partner in whose.items() if partner == by.partner}


def _ids(actors: list[str], prefix: str) -> list[str]:
    return [actor.removeprefix(prefix) for actor in actors if actor.startswith(prefix)]
