"""What the token endpoint and the request path know of an OAuth client: all they need, already parsed and opened.

Invariant: a client lists only what may authenticate it now: the active version of its secret or keys, and the retiring
one. The values do not compare with `==`; they are told apart by identity, as served API keys are, and a client that
changes in any way is served as another one.
"""

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from math import inf
from typing import Any, Final

import msgspec

from keys.client_records import About, Authentication, Binding, Certificate, ClientException, GrantType
from keys.environment import Environment
from keys.secret import SecretBytes
from keys.served import Entitlement

Jwk = Mapping[str, Any]
_DERIVED: Final = Entitlement("", "", "", "paper", (), None, ())


class ServedPartner(msgspec.Struct, frozen=True, eq=False):
    id: str
    tier: str
    frozen: bool


class ServedClient(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """`keys`: its public keys by value, each with the number of its version. `secrets`: SHA-256 of each live secret."""

    id: str
    partner: str
    tier: str
    environment: Environment
    name: str
    authentication: Authentication
    binding: Binding | None
    grants: frozenset[GrantType]
    roles: tuple[str, ...]
    permissions: tuple[str, ...] | None
    networks: tuple[IPv4Network | IPv6Network, ...]
    redirect_uris: tuple[str, ...]
    exceptions: frozenset[ClientException]
    keys: tuple[tuple[int, Jwk], ...]
    secrets: tuple[tuple[int, SecretBytes], ...]
    keys_url: str | None
    certificate: Certificate | None
    about: About
    expires_at: int | None
    frozen: bool
    revoked: bool
    partner_frozen: bool
    revision: int
    # Derived: whatever a caller passes is overwritten.
    entitlement: Entitlement = _DERIVED
    # From this time on, in milliseconds, it is refused: always, never, or once it expires.
    refused_from: float = -inf

    def __post_init__(self) -> None:
        entitlement = Entitlement(
            self.id, self.partner, self.tier, self.environment, self.roles, self.permissions, self.networks
        )
        msgspec.structs.force_setattr(self, "entitlement", entitlement)
        msgspec.structs.force_setattr(self, "refused_from", self._refused_from())

    def _refused_from(self) -> float:
        if self.revoked or self.frozen or self.partner_frozen:
            return -inf
        return inf if self.expires_at is None else self.expires_at
