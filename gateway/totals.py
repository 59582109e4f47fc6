"""What is counted of requests: plain integers, added up in one place, mergeable across the workers of one node.

Labels hold only names from the configuration and codes from the contract: nothing a client chooses, so the number of
series is bounded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

import msgspec

from gateway.trace import Trace

BOUNDS_US = (25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000)
_STORE_REASONS = frozenset({"replay_store_unavailable", "limiter_unavailable"})


class Histogram(msgspec.Struct):
    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS_US) + 1))
    total_ns: int = 0

    def observe(self, duration_ns: int) -> None:
        self.counts[bisect_left(BOUNDS_US, duration_ns / 1000)] += 1
        self.total_ns += duration_ns

    def add(self, other: Histogram) -> None:
        self.counts = [own + more for own, more in zip(self.counts, other.counts, strict=True)]
        self.total_ns += other.total_ns


class Totals(msgspec.Struct):
    requests: dict[str, int] = msgspec.field(default_factory=lambda: defaultdict(int))
    stages: dict[str, Histogram] = msgspec.field(default_factory=lambda: defaultdict(Histogram))
    total: Histogram = msgspec.field(default_factory=Histogram)
    upstream_errors: dict[str, int] = msgspec.field(default_factory=lambda: defaultdict(int))
    store_errors: dict[str, int] = msgspec.field(default_factory=lambda: defaultdict(int))

    def note(self, trace: Trace, total_ns: int) -> None:
        # Labels are joined by a character that no name may hold, so that a series is one key of a JSON object.
        self.requests[f"{trace.route} {trace.decision} {trace.reason}"] += 1
        self.total.observe(total_ns)
        for stage, lap in trace.laps:
            self.stages[stage].observe(lap)
        if trace.reason.startswith("upstream_"):
            self.upstream_errors[f"{trace.upstream} {trace.reason}"] += 1
        elif trace.reason in _STORE_REASONS:
            self.store_errors["admission"] += 1

    def add(self, other: Totals) -> None:
        for own, more in (
            (self.requests, other.requests),
            (self.upstream_errors, other.upstream_errors),
            (self.store_errors, other.store_errors),
        ):
            for labels, count in more.items():
                own[labels] = own.get(labels, 0) + count
        for stage, histogram in other.stages.items():
            self.stages.setdefault(stage, Histogram()).add(histogram)
        self.total.add(other.total)
