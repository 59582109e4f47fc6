"""What the pages need of a running node, put together by the composition."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec

from auth.oauth.flows import Flows
from auth.oauth.terms import Clients
from gateway.people import People
from gateway.settings import Settings
from keys.served_clients import ServedClient
from policies.document import Policies

_REFRESH = "refresh_token"


class Services(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """`origin`: what browsers name as where these pages come from. `passkeys`: whether there could be any: they are made
    for a domain, and an address is none.
    """

    origin: str
    people: People
    flows: Flows
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


def build(  # noqa: PLR0913  the composition names each part
    settings: Settings,
    *,
    people: People,
    flows: Flows,
    clients: Clients,
    clock: Callable[[], int],
    entropy: Callable[[int], bytes],
) -> Services:
    return Services(
        origin=origin_of(settings.service.issuer),
        people=people,
        flows=flows,
        clients=clients,
        policies=settings.policies,
        step_up_ms=settings.people.step_up_ms,
        access_ms=settings.oauth.lifetime_ms,
        refresh_ms=settings.oauth.refresh_lifetime_ms,
        clock=clock,
        entropy=entropy,
    )
