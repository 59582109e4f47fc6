"""What `/metrics` says: the totals of this node, rendered by prometheus-client when asked.

Counters and histograms are summed over the node's workers; gauges are those of the worker that answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.totals import BOUNDS_US, Histogram, Tally, Totals

_BUCKETS = (*(f"{bound / 1_000_000:g}" for bound in BOUNDS_US), "+Inf")


class Metrics(Collector):
    def __init__(self, gauges: dict[str, tuple[str, Callable[[], float]]]) -> None:
        self._gauges = gauges
        self._others: Callable[[], list[Totals]] = list
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        self._tally = Tally()
        self.note = self._tally.note

    def include(self, others: Callable[[], list[Totals]]) -> None:
        """Answer for these, too: the other workers of this node."""
        self._others = others

    def totals(self) -> Totals:
        """Those of this worker alone."""
        return self._tally.totals()

    def render(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        totals = Totals()
        for each in (self.totals(), *self._others()):
            totals.add(each)
        yield from _counters(totals)
        yield from _latencies(totals)
        for name, (about, read) in self._gauges.items():
            yield GaugeMetricFamily(f"portreeve_{name}", about, value=read())


def _counters(totals: Totals) -> Iterator[Metric]:
    for name, about, labels, counts in (
        ("requests", "Requests, by what became of them.", ["route", "decision", "reason"], totals.requests),
        ("upstream_errors", "Upstream failures.", ["upstream", "reason"], totals.upstream_errors),
        ("store_errors", "Failures to reach a store.", ["store"], totals.store_errors),
    ):
        family = CounterMetricFamily(f"portreeve_{name}", about, labels=labels)
        for series, count in counts.items():
            family.add_metric(series.split(" "), count)
        yield family


def _latencies(totals: Totals) -> Iterator[Metric]:
    stages = HistogramMetricFamily("portreeve_stage_seconds", "Time spent in a stage.", labels=["stage"])
    for stage, histogram in totals.stages.items():
        stages.add_metric([stage], _cumulative(histogram), histogram.total_us / 1e6)
    yield stages
    total = HistogramMetricFamily("portreeve_request_seconds", "Time from the head to the last byte sent.")
    total.add_metric([], _cumulative(totals.total), totals.total.total_us / 1e6)
    yield total


def _cumulative(histogram: Histogram) -> list[tuple[str, float]]:
    running, rows = 0, []
    for label, count in zip(_BUCKETS, histogram.counts, strict=True):
        running += count
        rows.append((label, float(running)))
    return rows
