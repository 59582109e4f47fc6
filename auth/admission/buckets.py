"""Buckets counted in this process: one dict of theoretical arrival times, bounded, with no await to race in.

Invariant: a bucket is one slot's own, and the same key in another slot is another bucket. At most `max_buckets`
are kept, and callers who are not known fill at most half of that, so that partners' limits always have room; one is
forgotten only when it has drained and so says nothing.
Refuses to count in a bucket there is no room for.
"""

from auth.admission import Admitted, Bucket, LimiterUnavailable, counting
from policies import gcra

_FIRST_SWEEP = 1024
_SWEEP_INTERVAL_US = 250_000


class LocalBuckets:
    def __init__(self, max_buckets: int = 100_000) -> None:
        self._max = max_buckets
        self._tats: dict[tuple[str, str], int] = {}
        self._sweep_at = min(_FIRST_SWEEP, max_buckets)
        self._swept_us = -_SWEEP_INTERVAL_US

    def charge(self, slot: str, buckets: tuple[Bucket, ...], now_us: int, *, known: bool = True) -> Admitted:
        """Charge all or none; raises `RateLimited`, or `LimiterUnavailable` when the table is full."""
        tats = self._tats
        booked = [gcra.booked_us(tats.get((slot, each.key)), now_us, each.limit) for each in buckets]
        after = []
        for each, before in zip(buckets, booked, strict=True):
            if gcra.wait_us(before, each.limit, each.cost) > 0:
                raise counting.limited(buckets, booked)
            after.append(before + each.cost * each.limit.emission_us)
        most = self._max if known else self._max // 2
        if len(tats) + len(buckets) > min(self._sweep_at, most):
            self._make_room(slot, buckets, now_us, most)
        for each, ahead in zip(buckets, after, strict=True):
            self._tats[slot, each.key] = now_us + ahead
        return counting.admitted(buckets, after)

    def __len__(self) -> int:
        return len(self._tats)

    def _make_room(self, slot: str, buckets: tuple[Bucket, ...], now_us: int, most: int) -> None:
        if self._size_with(slot, buckets) > min(self._sweep_at, most):
            self._sweep(now_us)
        if self._size_with(slot, buckets) > most:
            raise LimiterUnavailable("full")

    def _size_with(self, slot: str, buckets: tuple[Bucket, ...]) -> int:
        return len(self._tats) + sum(1 for each in buckets if (slot, each.key) not in self._tats)

    def _sweep(self, now_us: int) -> None:
        # Sweeping again only once the table has doubled keeps the cost of one charge constant on average; a
        # table full of live buckets is looked through now and then, not for every stranger that knocks.
        if len(self._tats) >= self._max // 2 and abs(now_us - self._swept_us) < _SWEEP_INTERVAL_US:
            return
        self._swept_us = now_us
        self._tats = {key: tat_us for key, tat_us in self._tats.items() if tat_us > now_us}
        self._sweep_at = min(max(_FIRST_SWEEP, 2 * len(self._tats)), self._max)
