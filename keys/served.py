"""What the request path knows of an API key: everything it needs, already parsed and opened, and no more.

Invariant: a key lists only the versions that may verify: active and retiring ones, and for a revoked key
the last two it had, so that a right signature can be told that the key is revoked. The values do not
compare with `==`, because a comparison would reach the secrets; they are told apart by identity.
"""

from ipaddress import IPv4Network, IPv6Network

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keys.environment import Environment
from keys.records import Algorithm, VersionState
from keys.secret import HmacKey


class ServedVersion(msgspec.Struct, frozen=True, eq=False):
    """`secret` signs as its holder does: with the UTF-8 bytes of the secret as it was shown."""

    version: int
    state: VersionState
    algorithm: Algorithm
    secret: HmacKey | None = None
    public_key: Ed25519PublicKey | None = None


class Entitlement(msgspec.Struct, frozen=True, eq=False):
    """What a key may do, and for whom: nothing that it proves itself with.

    What is worked out per key on the request path is kept by this, told apart by identity: a key that changes in any
    way is served with another one, and nothing that is kept so keeps a secret alive.
    """

    id: str
    partner: str
    tier: str
    environment: Environment
    roles: tuple[str, ...]
    permissions: tuple[str, ...] | None
    networks: tuple[IPv4Network | IPv6Network, ...]


_DERIVED = Entitlement("", "", "", "paper", (), None, ())


class ServedKey(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    id: str
    partner: str
    tier: str
    environment: Environment
    algorithm: Algorithm
    roles: tuple[str, ...]
    permissions: tuple[str, ...] | None
    networks: tuple[IPv4Network | IPv6Network, ...]
    expires_at: int | None
    frozen: bool
    revoked: bool
    partner_frozen: bool
    versions: tuple[ServedVersion, ...]
    revision: int
    # Derived: whatever a caller passes is overwritten.
    entitlement: Entitlement = _DERIVED

    def __post_init__(self) -> None:
        entitlement = Entitlement(
            self.id,
            self.partner,
            self.tier,
            self.environment,
            self.roles,
            self.permissions,
            self.networks,
        )
        msgspec.structs.force_setattr(self, "entitlement", entitlement)
