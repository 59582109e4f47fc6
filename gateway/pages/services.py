"""What the pages need of a running node, put together by the composition."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec

from auth.oauth import flows
from auth.oauth.terms import Clients
from gateway import composition
from gateway.people import People, find_party
from gateway.settings import Settings
from keys.changes import Clock
from keys.served_clients import ServedClient
from policies.document import Policies

_REFRESH = "refresh_token"


class Services(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """`origin`: what browsers name as where these pages come from. `passkeys`: whether there could be any, since they
    are made for a domain, and an address is none.
    """

    origin: str
    people: People
    flows: flows.Flows
    clients: Clients
    policies: Policies
    passkeys: bool
    step_up_ms: int
    access_ms: int
    refresh_ms: int
    clock: Callable[[], int]
    entropy: Callable[[int], bytes]

    def lifetime_ms(self, client: ServedClient) -> int:
        """How long a client can act on what it was allowed once."""
        return self.refresh_ms if _REFRESH in client.grants else self.access_ms


def origin_of(issuer: str) -> str:
    parts = urlsplit(issuer)
    return f"{parts.scheme}://{parts.netloc}"


def build(
    settings: Settings,
    node: composition.Node,
    flows_: flows.Flows,
    clock: Clock,
    entropy: Callable[[int], bytes],
) -> Services:
    return Services(
        origin=origin_of(settings.service.issuer),
        people=node.people,
        flows=flows_,
        clients=node.clients,
        policies=settings.policies,
        passkeys=_is_domain(find_party(settings.service.issuer, settings.people.relying_party).id),
        step_up_ms=settings.people.step_up_ms,
        access_ms=settings.oauth.lifetime_ms,
        refresh_ms=settings.oauth.refresh_lifetime_ms,
        clock=clock,
        entropy=entropy,
    )


def _is_domain(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return bool(name)
    return False
