"""Nonces taken in this process, kept as 16-byte digests in two generations.

Invariant: a nonce stays taken for at least `lifetime_us` after it was taken, at most twice that long, and at
most `max_nonces` are kept: with no room left none can be taken. One slot takes at most half of the room, so
that no partner can shut the others out.
"""

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b

from auth.admission import Replayed, ReplayStoreUnavailable
from auth.admission.charges import NONCE_DIGEST_BYTES

DIGEST_BYTES = NONCE_DIGEST_BYTES


def digest(scope: bytes, nonce: str) -> bytes:
    """A fixed-size stand-in for a nonce: finding another nonce with the same one takes 2**128 tries."""
    return blake2b(scope + nonce.encode(), digest_size=NONCE_DIGEST_BYTES).digest()


class TakenNonces:
    def __init__(self, lifetime_us: int, max_nonces: int) -> None:
        self._lifetime_us = lifetime_us
        self._max = max_nonces
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()
        self._young_of: Counter[str] = Counter()
        self._old_of: Counter[str] = Counter()
        self._young_since_us: int | None = None

    def take(self, slot: str, nonce: bytes, now_us: int) -> None:
        """Take a nonce; raises `Replayed` or, when full, `ReplayStoreUnavailable`."""
        self._age(now_us)
        if nonce in self._young or nonce in self._old:
            raise Replayed
        if len(self) >= self._max or self._young_of[slot] + self._old_of[slot] >= self._max // 2:
            raise ReplayStoreUnavailable("full")
        self._young.add(nonce)
        self._young_of[slot] += 1

    def recall(self, nonces: Iterable[bytes], now_us: int) -> None:
        """Nonces that were taken before, no matter when: each stays taken for a lifetime from now."""
        self._age(now_us)
        self._young.update(nonces)

    def all_taken(self) -> tuple[bytes, ...]:
        return (*self._young, *self._old)

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def _age(self, now_us: int) -> None:
        if self._young_since_us is None:
            self._young_since_us = now_us
        age_us = now_us - self._young_since_us
        if age_us < self._lifetime_us:
            return
        # The youngest of a generation may have been taken just now, so a generation is dropped only after a
        # whole lifetime of being the old one.
        passed = age_us >= 2 * self._lifetime_us
        self._old, self._old_of = (set(), Counter()) if passed else (self._young, self._young_of)
        self._young, self._young_of = set(), Counter()
        self._young_since_us = now_us
