"""Second stage: how often one address may ask, counted in this process, before any costly crypto.

It protects the node, not the partner: it is generous, local to the node, and bounded in memory. Whatever is
refused before counts as well, so that nothing an address sends is free. The clock is monotonic: a step of the wall
clock locks nobody out.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway import clocks
from gateway.problems import Refusal
from gateway.ratelimit_headers import refusal_headers
from gateway.sources import Source
from policies import gcra

MAX_SOURCES = 100_000


class LimitSource:
    def __init__(self, limit: gcra.Limit, clock_ns: Callable[[], int] = clocks.monotonic_ns) -> None:
        self._limit = limit
        self._emission_ns = limit.emission_us * 1_000
        self._tolerance_ns = limit.tolerance_us * 1_000
        self._clock_ns = clock_ns
        # Until when each network has booked: its theoretical arrival time, in nanoseconds.
        self._booked_until: dict[str, int] = {}

    def __call__(self, source: Source) -> None:
        """`gcra.charge` of one unit, written out: it is asked of every request, also of those that are refused."""
        clock_ns = self._clock_ns
        now, network = clock_ns(), source.network
        booked_until = self._booked_until.get(network)
        if booked_until is None:
            self._make_room(now)
            booked_until = now
        elif booked_until <= now:
            booked_until = now
        else:
            # Where nothing is booked, one unit always fits: a burst is at least one.
            late = booked_until + self._emission_ns - now - self._tolerance_ns
            if late > 0:
                raise self._refuse(late)
        self._booked_until[network] = booked_until + self._emission_ns

    def _refuse(self, retry_after_ns: int) -> Refusal:
        headers = refusal_headers(self._limit, retry_after_ns // 1_000_000)
        members = {"limit": "source"}
        return Refusal("rate_limited", "This address asks too often.", members=members, headers=headers)

    def _make_room(self, now: int) -> None:
        """A source whose debt is paid is as good as unknown. If all are busy, the oldest tenth is let go."""
        if len(self._booked_until) < MAX_SOURCES:
            return
        self._booked_until = {network: until for network, until in self._booked_until.items() if until > now}
        if len(self._booked_until) >= MAX_SOURCES:
            for network in list(self._booked_until)[: MAX_SOURCES // 10]:
                del self._booked_until[network]
