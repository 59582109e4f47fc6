"""Admission in this process: the embedded default, for exactly one worker.

Atomic because nothing in `admit` awaits. It can't be unreachable, only full, and then fails closed. The clock
should be monotonic: stepped forward, it would let nonces go early.
"""

from collections.abc import Callable

from auth.admission import Admission, Admitted, nonces
from auth.admission.buckets import LocalBuckets
from auth.admission.nonces import TakenNonces


class MemoryAdmission:
    def __init__(
        self,
        clock_us: Callable[[], int],
        nonce_ttl_ms: int,
        max_nonces: int = 400_000,
        max_buckets: int = 100_000,
    ) -> None:
        self._clock_us = clock_us
        self._nonces = TakenNonces(nonce_ttl_ms * 1000, max_nonces)
        self._buckets = LocalBuckets(max_buckets)

    async def admit(self, admission: Admission) -> Admitted:
        now_us = self._clock_us()
        charges, nonce = admission.charges, admission.nonce
        if nonce is not None:
            self._nonces.take(charges.slot, nonces.digest(charges.nonce_scope, nonce), now_us)
        return self._buckets.charge(charges, now_us, known=nonce is not None)

    def recall(self, nonces: tuple[bytes, ...]) -> None:
        """What a predecessor handed over stays taken."""
        self._nonces.recall(nonces, self._clock_us())

    def all_taken(self) -> tuple[bytes, ...]:
        return self._nonces.all_taken()

    async def aclose(self) -> None:
        """Nothing is held that needs closing."""
