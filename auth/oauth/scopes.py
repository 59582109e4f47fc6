"""Which permissions a token may carry. Pure.

Invariant: a scope only ever narrows. What a token carries was asked for, and its client has it, and whoever allowed it
has it; it is never a permission of the control surface, and never a trading one where the client is weaker than the
profile asks. Refuses a scope that the client does not have, or whose grammar is not RFC 6749's.
"""

import re
from collections.abc import Iterable
from typing import Final

from auth.oauth.refusals import Refused
from keys.served_clients import ServedClient
from policies import control
from policies.document import Policies

LONGEST: Final = 2_000

_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*")


def of_client(policies: Policies, client: ServedClient) -> frozenset[str]:
    """All that tokens of this client may carry."""
    granted = of_roles(policies, client.roles, client.permissions)
    return _without_trading(policies, granted) if client.exceptions else granted


def of_roles(
    policies: Policies, roles: tuple[str, ...], narrowed: tuple[str, ...] | None = None
) -> frozenset[str]:
    granted = policies.permissions_of(roles, narrowed)
    return frozenset(name for name in granted if not name.startswith(control.SCOPE))


def parse(asked: str) -> frozenset[str]:
    if len(asked) > LONGEST or _SCOPE.fullmatch(asked) is None:
        raise Refused("invalid_scope", "scope is a list of names, one space between each")
    return frozenset(asked.split(" "))


def narrow(asked: str | None, had: Iterable[str]) -> frozenset[str]:
    """What is asked for, where all of it is had; without asking, all of it."""
    limit = frozenset(had)
    scope = limit if asked is None else parse(asked)
    if not scope:
        raise Refused("invalid_scope", "there is no permission that this could be about")
    if not scope <= limit:
        raise Refused("invalid_scope", "more is asked for than there is")
    return scope


def write(scope: Iterable[str]) -> str:
    return " ".join(sorted(scope))


def _without_trading(policies: Policies, granted: frozenset[str]) -> frozenset[str]:
    return frozenset(name for name in granted if not policies.is_trading(frozenset({name})))
