"""What the request path knows of an API key: everything it needs, already parsed and opened, and no more.

Invariant: a key lists only the versions that may verify: active and retiring ones, and for a revoked key
the last two it had, so that a right signature can be told that the key is revoked. The values do not
compare with `==`, because a comparison would reach the secrets; they are told apart by identity.
"""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from math import inf
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keys.environment import Environment
from keys.records import Algorithm, VersionState
from keys.secret import HmacKey
from keys.verifiers import Ed25519Verifier, Verifier


class ServedVersion(msgspec.Struct, frozen=True, eq=False, gc=False):
    """`secret` signs as its holder does: with the UTF-8 bytes of the secret as it was shown."""

    version: int
    state: VersionState
    algorithm: Algorithm
    secret: HmacKey | None = None
    public_key: Ed25519PublicKey | None = None

    def find_verifier(self) -> Verifier | None:
        """None where what it would verify by is gone."""
        if self.algorithm == "hmac-sha256":
            return self.secret
        return None if self.public_key is None else Ed25519Verifier(self.public_key)


class Place:
    """Room for one thing that was worked out for a key, whatever it is: what is found with the key is found at once,
    and a table of thousands is in no cache of the processor's when the next of thousands asks.
    """

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held: object = None


_NO_PLACE: Final = Place()


class Entitlement(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What a key may do, and for whom: nothing that it proves itself with.

    What is worked out per key on the request path is kept by this, told apart by identity, or with it, in `place`: a
    key that changes in any way is served with another one, and nothing that is kept so keeps a secret alive.
    """

    id: str
    partner: str
    tier: str
    environment: Environment
    roles: tuple[str, ...]
    permissions: tuple[str, ...] | None
    networks: tuple[IPv4Network | IPv6Network, ...]
    # Its own: whatever a caller passes is overwritten, so that one made from another never finds what was that one's.
    place: Place = _NO_PLACE

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "place", Place())


_VERIFYING_STATES: Final = ("active", "retiring")


class ServedKey(msgspec.Struct, frozen=True, eq=False, kw_only=True, gc=False):
    """Few fields, and none twice: of thousands of keys that are used in turn none is in the processor's caches, and
    each line of memory that a request looks at is waited for.
    """

    # Of this key alone: one that changes in any way is served with another.
    entitlement: Entitlement
    algorithm: Algorithm
    # What a signature may verify by, under the key's own algorithm, each with the number of its version. Derived, as
    # is what follows: whatever a caller passes is overwritten.
    verifiers: tuple[tuple[int, Verifier], ...] = ()
    # From this time on, in milliseconds, the key is refused: always, never, or once it expires.
    refused_from: float = -inf
    expires_at: int | None
    frozen: bool
    revoked: bool
    partner_frozen: bool
    versions: tuple[ServedVersion, ...]
    revision: int

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "verifiers", tuple(self._find_verifiers()))
        msgspec.structs.force_setattr(self, "refused_from", self._refused_from())

    @property
    def id(self) -> str:
        return self.entitlement.id

    @property
    def partner(self) -> str:
        return self.entitlement.partner

    def _find_verifiers(self) -> Iterator[tuple[int, Verifier]]:
        for version in self.versions:
            # A revoked key keeps its last versions, so that whoever holds the secret hears that it is revoked.
            serves = self.revoked or version.state in _VERIFYING_STATES
            verifier = version.find_verifier()
            if serves and verifier is not None and version.algorithm == self.algorithm:
                yield version.version, verifier

    def _refused_from(self) -> float:
        if self.revoked or self.frozen or self.partner_frozen:
            return -inf
        return inf if self.expires_at is None else self.expires_at
