"""Nonces taken in this process, kept as 16-byte digests in two generations.

Invariant: a nonce stays taken for at least `lifetime_us` after it was taken, at most twice that long, and at
most `max_nonces` are kept: with no room left none can be taken. One slot takes at most half of the room, so
that no partner can shut the others out.
"""

from collections.abc import Iterable
from hashlib import blake2b
from math import inf
from typing import Final

from auth.admission import Replayed, ReplayStoreUnavailable
from auth.admission.charges import NONCE_DIGEST_BYTES

DIGEST_BYTES = NONCE_DIGEST_BYTES
# The state of a digest of nothing. To copy it costs less than to say each time which digest is meant.
UNDIGESTED: Final = blake2b(digest_size=NONCE_DIGEST_BYTES)


def digest(scope: bytes, nonce: bytes) -> bytes:
    """A fixed-size stand-in for a nonce: finding another nonce with the same one takes 2**128 tries."""
    digesting = UNDIGESTED.copy()
    digesting.update(scope + nonce)
    return digesting.digest()


class TakenNonces:
    def __init__(self, lifetime_us: int, max_nonces: int) -> None:
        self._lifetime_us = lifetime_us
        self._max = max_nonces
        self._max_of_slot = max_nonces // 2
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()
        # How many of each generation are a slot's.
        self._young_of: dict[str, int] = {}
        self._old_of: dict[str, int] = {}
        self._young_since_us: float = -inf

    def take(self, slot: str, nonce: bytes, now_us: int) -> None:
        """Take a nonce; raises `Replayed` or, when full, `ReplayStoreUnavailable`."""
        if now_us - self._young_since_us >= self._lifetime_us:
            self._age(now_us)
        young, old = self._young, self._old
        if nonce in young or nonce in old:
            raise Replayed
        young_of_slot = self._young_of.get(slot, 0)
        of_slot = young_of_slot + self._old_of.get(slot, 0)
        if len(young) + len(old) >= self._max or of_slot >= self._max_of_slot:
            raise ReplayStoreUnavailable("full")
        young.add(nonce)
        self._young_of[slot] = young_of_slot + 1

    def recall(self, nonces: Iterable[bytes], now_us: int) -> None:
        """Nonces that were taken before, no matter when: each stays taken for a lifetime from now."""
        if now_us - self._young_since_us >= self._lifetime_us:
            self._age(now_us)
        self._young.update(nonces)

    def all_taken(self) -> tuple[bytes, ...]:
        return (*self._young, *self._old)

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def _age(self, now_us: int) -> None:
        """Begin a generation: the young one has been so for a lifetime."""
        # The youngest of a generation may have been taken just now, so a generation is dropped only after a
        # whole lifetime of being the old one.
        passed = now_us - self._young_since_us >= 2 * self._lifetime_us
        self._old, self._old_of = (set(), {}) if passed else (self._young, self._young_of)
        self._young, self._young_of = set(), {}
        self._young_since_us = now_us
