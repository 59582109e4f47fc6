"""How often anybody may try a password at this node at all, counted in this process before a page is made for it.

A page costs ten times what it costs to refuse here, so that somebody who tries passwords by the thousand takes nothing
from those whose requests this node serves. It is far above what people do, and above what a node can work out: people
are told by the page itself, which counts by account and source over all nodes, long before they get here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway import clocks
from gateway.problems import Refusal
from gateway.sources import Source
from gateway.stages.limit_source import LimitSource
from policies.gcra import Limit

PATH: Final = "/oauth/sign-in"
_SECOND_NS: Final = 1_000_000_000
OF_SOURCE: Final = Limit(name="sign-in-burst", rate=2, per_us=1_000_000, burst=60, outage="local")
OF_NODE_A_SECOND: Final = 40
OF_NODE_AT_ONCE: Final = 80


class LimitSignIns:
    def __init__(self, clock_ns: Callable[[], int] = clocks.monotonic_ns) -> None:
        self._of_source = LimitSource(OF_SOURCE, clock_ns)
        self._clock_ns = clock_ns
        self._booked_until = 0

    def __call__(self, method: str, path: str, source: Source) -> None:
        if method != "POST" or path != PATH:
            return
        # First, so that one address that does nothing else leaves room for everybody's.
        self._of_source(source)
        now, each = self._clock_ns(), _SECOND_NS // OF_NODE_A_SECOND
        booked_until = max(self._booked_until, now) + each
        if booked_until - now > OF_NODE_AT_ONCE * each:
            raise Refusal(
                "overloaded",
                "Too many people are signing in at this moment.",
                headers=((b"retry-after", b"2"),),
            )
        self._booked_until = booked_until
