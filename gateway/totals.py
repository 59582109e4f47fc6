"""What is counted of requests: plain integers, added up in one place, mergeable across the workers of one node.

Labels hold only names from the configuration and codes from the contract: nothing a client chooses, so the number of
series is bounded.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence

import msgspec

from gateway.trace import Trace

BOUNDS_US = (25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000)
_BOUNDS_NS = tuple(bound * 1000 for bound in BOUNDS_US)
_STORE_REASONS = frozenset({"replay_store_unavailable", "limiter_unavailable"})
# Durations wait until there are this many of a kind: sorting a few hundred and cutting them at the bounds costs
# a fraction of finding each one's bucket, and is over in microseconds.
_BATCH = 256


class Histogram(msgspec.Struct):
    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS_US) + 1))
    total_ns: int = 0

    def observe_all(self, durations_ns: Sequence[int]) -> None:
        ordered = sorted(durations_ns)
        before = 0
        for index, bound in enumerate(_BOUNDS_NS):
            up_to = bisect_right(ordered, bound, before)
            self.counts[index] += up_to - before
            before = up_to
        self.counts[-1] += len(ordered) - before
        self.total_ns += sum(ordered)

    def add(self, other: Histogram) -> None:
        self.counts = [own + more for own, more in zip(self.counts, other.counts, strict=True)]
        self.total_ns += other.total_ns


class Totals(msgspec.Struct):
    requests: dict[str, int] = msgspec.field(default_factory=lambda: defaultdict(int))
    stages: dict[str, Histogram] = msgspec.field(default_factory=lambda: defaultdict(Histogram))
    total: Histogram = msgspec.field(default_factory=Histogram)
    upstream_errors: dict[str, int] = msgspec.field(default_factory=lambda: defaultdict(int))
    store_errors: dict[str, int] = msgspec.field(default_factory=lambda: defaultdict(int))

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


class Tally:
    """Takes note of each request, and tells the totals when asked."""

    def __init__(self) -> None:
        self._totals = Totals()
        self._waiting: list[int] = []
        # The laps of requests that went through the same stages: as rows here, by columns when they are settled.
        self._laps: defaultdict[tuple[str, ...], list[tuple[int, ...]]] = defaultdict(list)

    def note(self, trace: Trace) -> None:
        self._laps[trace.stages].append(trace.laps)
        # Labels are joined by a character that no name may hold, so that a series is one key of a JSON object.
        self._totals.requests[f"{trace.route} {trace.decision} {trace.reason}"] += 1
        if trace.reason:
            self._note_failure(trace)
        waiting = self._waiting
        waiting.append(trace.total_ns)
        if len(waiting) >= _BATCH:
            self._settle()

    def totals(self) -> Totals:
        self._settle()
        return self._totals

    def _note_failure(self, trace: Trace) -> None:
        if trace.reason.startswith("upstream_"):
            self._totals.upstream_errors[f"{trace.upstream} {trace.reason}"] += 1
        elif trace.reason in _STORE_REASONS:
            self._totals.store_errors["admission"] += 1

    def _settle(self) -> None:
        self._totals.total.observe_all(self._waiting)
        self._waiting.clear()
        for stages, rows in self._laps.items():
            for stage, durations in zip(stages, zip(*rows, strict=True), strict=True):
                self._totals.stages[stage].observe_all(durations)
        self._laps.clear()
