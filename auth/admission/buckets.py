"""Buckets counted in this process: one dict of theoretical arrival times, bounded, with no await to race in.

Invariant: a bucket is one slot's own, and the same key in another slot is another bucket. At most `max_buckets`
are kept, and callers who are not known fill at most half of that, so that partners' limits always have room; one is
forgotten only when it has drained and so says nothing.
Refuses to count in a bucket there is no room for.
"""

from auth.admission import Admitted, Charges, LimiterUnavailable, counting
from policies import gcra

_FIRST_SWEEP = 1024
_SWEEP_INTERVAL_US = 250_000

Name = tuple[str, str]


class LocalBuckets:
    def __init__(self, max_buckets: int = 100_000) -> None:
        self._max = max_buckets
        self._tats: dict[Name, int] = {}
        self._sweep_at = min(_FIRST_SWEEP, max_buckets)
        self._swept_us = -_SWEEP_INTERVAL_US

    def charge(self, charges: Charges, now_us: int, *, known: bool = True) -> Admitted:
        """Charge all or none; raises `RateLimited`, or `LimiterUnavailable` when the table is full."""
        tats, names, tariff = self._tats, charges.names, charges.tariff
        after: dict[Name, int] = {}
        booked_us: list[int] = []
        for name, limit, cost in zip(names, tariff.limits, tariff.costs, strict=True):
            tat_us = gcra.charge(tats.get(name), now_us, limit, cost)
            if tat_us is None:
                full_us = now_us + limit.tolerance_us
                if tats.get(name, 0) > full_us:
                    # Booked further than its limit allows: full from now on, and draining from there.
                    tats[name] = full_us
                raise counting.limited(charges, self._booked(charges, now_us))
            after[name] = tat_us
            booked_us.append(tat_us - now_us)
        most = self._max if known else self._max // 2
        size = len(tats) + tariff.size
        if size > self._sweep_at or size > most:
            self._make_room(names, now_us, most)
        self._tats.update(after)
        return Admitted(charges, booked_us)

    def __len__(self) -> int:
        return len(self._tats)

    def _booked(self, charges: Charges, now_us: int) -> list[int]:
        named = zip(charges.names, charges.tariff.limits, strict=True)
        return [gcra.booked_us(self._tats.get(name), now_us, limit) for name, limit in named]

    def _make_room(self, names: tuple[Name, ...], now_us: int, most: int) -> None:
        if self._size_with(names) > min(self._sweep_at, most):
            self._sweep(now_us)
        if self._size_with(names) > most:
            raise LimiterUnavailable("full")

    def _size_with(self, names: tuple[Name, ...]) -> int:
        return len(self._tats) + sum(1 for name in names if name not in self._tats)

    def _sweep(self, now_us: int) -> None:
        # Sweeping again only once the table has doubled keeps the cost of one charge constant on average; a
        # table full of live buckets is looked through now and then, not for every stranger that knocks.
        if len(self._tats) >= self._max // 2 and abs(now_us - self._swept_us) < _SWEEP_INTERVAL_US:
            return
        self._swept_us = now_us
        self._tats = {key: tat_us for key, tat_us in self._tats.items() if tat_us > now_us}
        self._sweep_at = min(max(_FIRST_SWEEP, 2 * len(self._tats)), self._max)
