"""What a person is asked to allow an app, put together from the client, its request, the policies and the person.

Invariant: a person can only hand on what they may do themselves, and nothing is handed on that was not shown: a choice
is cut down to what the page offered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from keys.client_records import About, Binding
from keys.environment import Environment
from keys.served_clients import ServedClient
from policies.document import Policies

FIELD: Final = "allow-"
_LINKS: Final = (
    ("client_uri", "The app's own site"),
    ("policy_uri", "What it does with what it learns"),
    ("tos_uri", "Its terms"),
)


class NothingChosen(Exception):
    """A form that allows an app, and allows it nothing."""


class Link(msgspec.Struct, frozen=True):
    text: str
    address: str
    host: str


class Choice(msgspec.Struct, frozen=True):
    """A permission that is asked for. `offered`: the person holds it themselves, and may hand it on."""

    permission: str
    description: str
    trading: bool
    offered: bool

    @property
    def field(self) -> str:
        return FIELD + self.permission


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    app: str
    partner: str
    environment: Environment
    links: tuple[Link, ...]
    picture_host: str | None
    choices: tuple[Choice, ...]
    binding: Binding | None
    lifetime_ms: int

    @property
    def offered(self) -> frozenset[str]:
        return frozenset(each.permission for each in self.choices if each.offered)

    @property
    def is_trading(self) -> bool:
        return any(each.trading for each in self.choices if each.offered)

    def chosen(self, asked: Mapping[str, str]) -> frozenset[str]:
        """What of the offer was ticked; fields for anything else are no part of it."""
        found = frozenset(each for each in self.offered if FIELD + each in asked)
        if not found:
            raise NothingChosen("nothing was chosen")
        return found


def compose(
    client: ServedClient,
    scope: Iterable[str],
    givable: frozenset[str],
    policies: Policies,
    lifetime_ms: int,
) -> Consent:
    """`givable`: what of the scope this person could allow."""
    # What moves money stands first, whatever order it was asked for in.
    choices = sorted((_choice(each, policies, givable) for each in set(scope)), key=_place)
    return Consent(
        app=client.name,
        partner=client.partner,
        environment=client.environment,
        links=tuple(_links(client.about)),
        picture_host=_find_host(client.about.logo_uri),
        choices=tuple(choices),
        binding=client.binding,
        lifetime_ms=lifetime_ms,
    )


def _choice(permission: str, policies: Policies, givable: frozenset[str]) -> Choice:
    rule = policies.permissions.get(permission)
    return Choice(
        permission,
        "" if rule is None else rule.description,
        trading=rule is not None and rule.trading,
        offered=rule is not None and permission in givable,
    )


def _place(choice: Choice) -> tuple[bool, str]:
    return (not choice.trading, choice.permission)


def _links(about: About) -> Iterable[Link]:
    for field, text in _LINKS:
        address = getattr(about, field)
        host = _find_host(address)
        if host is not None:
            yield Link(text, address, host)


def _find_host(address: str | None) -> str | None:
    """Of an address that a person may be sent to: over TLS, and to nobody's name but the host's."""
    if address is None:
        return None
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        return None
    return host if parts.scheme == "https" and host and "@" not in parts.netloc else None
