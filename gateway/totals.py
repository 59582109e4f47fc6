"""What is counted of requests: plain integers, added up in one place, mergeable across the workers of one node.

Labels hold only names from the configuration and codes from the contract: nothing a client chooses, so the number of
series is bounded.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from itertools import compress, repeat
from operator import add, attrgetter, sub

import msgspec

import compiled
from gateway.trace import Trace

if compiled.IS_USED:
    from compiled.sums import Adder

BOUNDS_US = (25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000)
_STORE_REASONS = frozenset({"replay_store_unavailable", "limiter_unavailable"})
# Requests wait until there are this many: to count at once those that became the same, and to sort their durations
# and cut them at the bounds, costs a fraction of looking at each one. More would hold up the one that comes last.
_BATCH = 256

_what_became = attrgetter("route", "decision", "reason", "upstream")
_laps_of = attrgetter("stages_us")
_total_of = attrgetter("total_us")


class Histogram(msgspec.Struct):
    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS_US) + 1))
    total_us: int = 0

    def observe_all(self, durations_us: Iterable[int]) -> None:
        ordered = sorted(durations_us)
        # How many there are up to each bound, and to the one that nothing lies beyond.
        up_to = [*map(bisect_right, repeat(ordered), BOUNDS_US), len(ordered)]
        self.counts = list(map(add, self.counts, map(sub, up_to, [0, *up_to])))
        self.total_us += sum(ordered)

    def add(self, other: Histogram) -> None:
        self.counts = [own + more for own, more in zip(self.counts, other.counts, strict=True)]
        self.total_us += other.total_us


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

    def __init__(self, *, is_compiled: bool = compiled.IS_USED) -> None:
        self._totals = Totals()
        self._add_durations = self._summing(Adder(BOUNDS_US)) if is_compiled else self._observe_batch
        # Finished: nothing in them changes any more.
        self._waiting: list[Trace] = []

    def note(self, trace: Trace) -> None:
        waiting = self._waiting
        waiting.append(trace)
        if len(waiting) >= _BATCH:
            self._settle()

    def totals(self) -> Totals:
        self._settle()
        return self._totals

    def _settle(self) -> None:
        waiting, self._waiting = self._waiting, []
        for (route, decision, reason, upstream), count in Counter(map(_what_became, waiting)).items():
            # Labels are joined by a character that no name may hold, so that a series is one key of a JSON object.
            self._totals.requests[f"{route} {decision} {reason}"] += count
            self._count_failures(upstream, reason, count)
        self._add_durations(list(map(_total_of, waiting)), list(map(_laps_of, waiting)))

    def _count_failures(self, upstream: str, reason: str, count: int) -> None:
        if reason.startswith("upstream_"):
            self._totals.upstream_errors[f"{upstream} {reason}"] += count
        elif reason in _STORE_REASONS:
            self._totals.store_errors["admission"] += count

    def _observe_batch(self, totals_us: list[int], laps: list[dict[str, int]]) -> None:
        self._totals.total.observe_all(totals_us)
        ways = list(map(tuple, laps))
        for way in set(ways):
            self._observe(way, compress(laps, map(way.__eq__, ways)))

    def _observe(self, stages: tuple[str, ...], laps: Iterable[dict[str, int]]) -> None:
        """Of requests that went through the same stages, in the same order."""
        by_stage = zip(*map(dict.values, laps), strict=True)
        for stage, durations in zip(stages, by_stage, strict=True):
            self._totals.stages[stage].observe_all(durations)

    def _summing(self, adder: Adder) -> Callable[[list[int], list[dict[str, int]]], None]:
        """What it is not sure of is looked at in the other way, all of the batch."""

        def observe_batch(totals_us: list[int], laps: list[dict[str, int]]) -> None:
            total, by_stage = adder.add(totals_us), adder.add_each(laps)
            if total is None or by_stage is None:
                self._observe_batch(totals_us, laps)
                return
            self._totals.total.add(Histogram(*total))
            for stage, added in by_stage.items():
                self._totals.stages[stage].add(Histogram(*added))

        return observe_batch
