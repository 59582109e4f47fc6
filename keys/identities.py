"""Whether two actors may be one mind, as far as this system can know.

An actor is a kind and a name, `cli:alice` or `key:prk_live_…`. Two are one mind when they are spelled alike but for
case (directories of accounts often ignore it), or when one key stands behind the other: whoever made a key, or a new
version of its secret, has had it in hand. So a key speaks for each of them, and for whoever made their keys, unless a
second person had approved that it be made: as what it was then. Whoever gave it another role or permission alone since
has made something else of it, and it speaks for them, too.

Where no shell counts for more than another (`shells_are_one`), all accounts are one mind: on a host that is shared, one
of them can appear as another.

Invariant: it errs towards "one mind". What it cannot know: who lends an account or a key to whom.
"""

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from keys import format as key_format
from storage import schema

_LEDGER: Final = schema.audit_events
_MADE: Final = ("api_key.created", "secret.rotated", "secret.announced")
_CHANGED: Final = "api_key.changed"
_APPROVED: Final = "apr_"
_KEY: Final = "key:"
_SHELL: Final = "cli:"


def canonical(actor: str) -> str:
    return actor.casefold()


def is_key(actor: str) -> bool:
    """Whether it is an API key, which has signed what it asked for."""
    return actor.startswith(_KEY)


def is_shell(actor: str) -> bool:
    """Whether it is an account of a machine, which is as good as what that machine says."""
    return actor.startswith(_SHELL)


async def may_be_one_mind(
    conn: AsyncConnection, one: str, other: str, *, shells_are_one: bool = False
) -> bool:
    minds, others = await _find_minds(conn, one), await _find_minds(conn, other)
    both_by_shell = any(map(is_shell, minds)) and any(map(is_shell, others))
    return not minds.isdisjoint(others) or (shells_are_one and both_by_shell)


async def _find_minds(conn: AsyncConnection, actor: str) -> set[str]:
    """The actor, and whoever has had it in hand alone."""
    minds: set[str] = set()
    found = [actor]
    while found:
        current = found.pop()
        if canonical(current) not in minds:
            minds.add(canonical(current))
            found += await _find_sole_makers(conn, current)
    return minds


async def _find_sole_makers(conn: AsyncConnection, actor: str) -> list[str]:
    key_id = actor.rpartition(":")[2]
    try:
        key_format.parse_key_id(key_id)
    except key_format.MalformedKeyId:
        return []
    query = sa.select(_LEDGER.c.actor, _LEDGER.c.approval, _LEDGER.c.action, _LEDGER.c.details).where(
        _LEDGER.c.subject == key_id, _LEDGER.c.action.in_((*_MADE, _CHANGED))
    )
    return [
        one.actor
        for one in await conn.execute(query)
        if not (one.approval or "").startswith(_APPROVED)
        and (one.action != _CHANGED or _hands_out(one.details))
    ]


def _hands_out(details: Mapping[str, Any]) -> bool:
    """A role that it did not have, or other permissions than it had."""
    before, after = details.get("before", {}), details.get("after", {})
    return "permissions" in after or not set(after.get("roles", ())) <= set(before.get("roles", ()))
