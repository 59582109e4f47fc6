"""What the configuration says about authorization, and what it needs to know of clients and people.

Invariant: whoever is asked here answers from memory, and from what was verified before.
"""

from typing import Final, Protocol

import msgspec

from auth.oauth.refusals import Refused
from keys.served_clients import ServedClient, ServedPartner

# RFC 9126 says that a request is short-lived; the FAPI 2.0 profile, that it lives less than ten minutes.
LONGEST_REQUEST_MS: Final = 599_000
LONGEST_CODE_MS: Final = 60_000


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """`resources`: what tokens may be for; the first where none is named. `access_ms`: an access token's lifetime."""

    issuer: str
    resources: tuple[str, ...]
    request_ms: int
    code_ms: int
    refresh_ms: int
    device_ms: int
    access_ms: int

    def __post_init__(self) -> None:
        if not self.resources:
            raise ValueError("tokens have to be for something")
        msgspec.structs.force_setattr(self, "request_ms", min(self.request_ms, LONGEST_REQUEST_MS))
        msgspec.structs.force_setattr(self, "code_ms", min(self.code_ms, LONGEST_CODE_MS))

    def choose_resource(self, asked: str | None) -> str:
        if asked is None:
            return self.resources[0]
        if asked not in self.resources:
            raise Refused("invalid_target", "there are no tokens for this resource here")
        return asked


class Clients(Protocol):
    """Those that the node serves."""

    def find(self, client_id: str) -> ServedClient | None: ...

    def find_partner(self, partner_id: str) -> ServedPartner | None: ...


class Person(Protocol):
    """Somebody who has signed in. `methods`: what they proved themselves with, by the names of RFC 8176."""

    @property
    def account_id(self) -> str: ...
    @property
    def partner(self) -> str | None: ...
    @property
    def roles(self) -> tuple[str, ...]: ...
    @property
    def methods(self) -> frozenset[str]: ...
    @property
    def authenticated_at(self) -> int: ...


def is_served(clients: Clients, partner_id: str) -> bool:
    found = clients.find_partner(partner_id)
    return found is not None and not found.frozen
