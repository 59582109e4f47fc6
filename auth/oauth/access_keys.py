"""The public halves of the ring that signs access tokens, ready to verify with.

Invariant: a key is found for as long as the ring publishes it, and is the same value for all that time, so that what it
verified once is known to be still good. A key that was revoked is found no more once the ring was read anew.
"""

from collections.abc import Sequence
from typing import Protocol

from auth import jose
from keys.ring import RingKey


class Published(Protocol):
    """A ring: its keys, the same tuple until it is read anew."""

    @property
    def keys(self) -> Sequence[RingKey]: ...


class AccessKeys:
    def __init__(self, ring: Published) -> None:
        self._ring = ring
        self._read: Sequence[RingKey] | None = None
        self._keys: dict[str, tuple[jose.VerificationKey, int | None]] = {}

    def find(self, kid: str | None, now_ms: int) -> jose.VerificationKey | None:
        published = self._ring.keys
        if published is not self._read:
            self._follow(published)
        found = None if kid is None else self._keys.get(kid)
        if found is None:
            return None
        key, ends_ms = found
        return key if ends_ms is None or now_ms < ends_ms else None

    def _follow(self, published: Sequence[RingKey]) -> None:
        before = self._keys
        # A key's id is its thumbprint, so what is kept under it can be no other key.
        self._keys = {
            key.kid: (
                before[key.kid][0] if key.kid in before else jose.parse_public_jwk(key.jwk),
                key.not_after,
            )
            for key in published
        }
        self._read = published
