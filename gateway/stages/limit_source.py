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
from gateway.stages.admit import Admitted
from policies import gcra

MAX_SOURCES = 100_000


class LimitSource:
    def __init__(self, limit: gcra.Limit, clock_us: Callable[[], int] = clocks.monotonic_us) -> None:
        self._limit = limit
        self._clock_us = clock_us
        self._arrivals: dict[str, int] = {}

    def __call__(self, admitted: Admitted) -> Admitted:
        self.check(admitted.source)
        return admitted

    def check(self, source: Source) -> None:
        now_us, network, arrivals = self._clock_us(), source.network, self._arrivals
        before = arrivals.get(network)
        charged = gcra.charge(before, now_us, self._limit, 1)
        if charged is None:
            raise self._refuse(gcra.admit(before, now_us, self._limit, 1))
        if before is None and len(arrivals) >= MAX_SOURCES:
            self._forget_idle(now_us)
        self._arrivals[network] = charged

    def _refuse(self, verdict: gcra.Verdict) -> Refusal:
        headers = refusal_headers(self._limit, verdict.retry_after_us // 1000)
        members = {"limit": "source"}
        return Refusal("rate_limited", "This address asks too often.", members=members, headers=headers)

    def _forget_idle(self, now_us: int) -> None:
        """A source whose debt is paid is as good as unknown. If all are busy, the oldest tenth is let go."""
        self._arrivals = {network: tat for network, tat in self._arrivals.items() if tat > now_us}
        if len(self._arrivals) >= MAX_SOURCES:
            for network in list(self._arrivals)[: MAX_SOURCES // 10]:
                del self._arrivals[network]
