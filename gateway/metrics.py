"""What `/metrics` says. Counted in plain integers on the loop; prometheus-client renders them when asked.

Labels hold only names from the configuration and codes from the contract: nothing a client chooses, so the
number of series is bounded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.trace import Trace

_BOUNDS_US = (25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000)
_LABELS = (*(f"{bound / 1_000_000:g}" for bound in _BOUNDS_US), "+Inf")


class Histogram:
    __slots__ = ("counts", "total_ns")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS_US) + 1)
        self.total_ns = 0

    def observe(self, duration_ns: int) -> None:
        self.counts[bisect_left(_BOUNDS_US, duration_ns // 1000)] += 1
        self.total_ns += duration_ns

    def buckets(self) -> list[tuple[str, float]]:
        running, rows = 0, []
        for label, count in zip(_LABELS, self.counts, strict=True):
            running += count
            rows.append((label, float(running)))
        return rows


class Metrics(Collector):
    def __init__(self, gauges: dict[str, tuple[str, Callable[[], float]]]) -> None:
        self._gauges = gauges
        self._requests: dict[tuple[str, str, str], int] = defaultdict(int)
        self._stages: dict[str, Histogram] = defaultdict(Histogram)
        self._total = Histogram()
        self._upstream_errors: dict[tuple[str, str], int] = defaultdict(int)
        self._store_errors: dict[str, int] = defaultdict(int)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def note(self, trace: Trace, total_ns: int) -> None:
        self._requests[trace.route, trace.decision, trace.reason] += 1
        self._total.observe(total_ns)
        for stage, lap in trace.laps:
            self._stages[stage].observe(lap)
        if trace.reason.startswith("upstream_"):
            self._upstream_errors[trace.upstream, trace.reason] += 1
        elif trace.reason in {"replay_store_unavailable", "limiter_unavailable"}:
            self._store_errors["admission"] += 1

    def note_store_error(self, store: str) -> None:
        self._store_errors[store] += 1

    def render(self) -> bytes:
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        yield self._request_counts()
        yield from self._latencies()
        yield from self._errors()
        for name, (about, read) in self._gauges.items():
            yield GaugeMetricFamily(f"portreeve_{name}", about, value=read())

    def _request_counts(self) -> Metric:
        family = CounterMetricFamily(
            "portreeve_requests", "Requests, by what became of them.", labels=["route", "decision", "reason"]
        )
        for labels, count in self._requests.items():
            family.add_metric(labels, count)
        return family

    def _latencies(self) -> Iterator[Metric]:
        stages = HistogramMetricFamily("portreeve_stage_seconds", "Time spent in a stage.", labels=["stage"])
        for stage, histogram in self._stages.items():
            stages.add_metric([stage], histogram.buckets(), histogram.total_ns / 1e9)
        yield stages
        total = HistogramMetricFamily(
            "portreeve_request_seconds", "Time from the head to the last byte sent."
        )
        total.add_metric([], self._total.buckets(), self._total.total_ns / 1e9)
        yield total

    def _errors(self) -> Iterator[Metric]:
        upstream = CounterMetricFamily(
            "portreeve_upstream_errors", "Upstream failures.", labels=["upstream", "reason"]
        )
        for labels, count in self._upstream_errors.items():
            upstream.add_metric(labels, count)
        yield upstream
        store = CounterMetricFamily("portreeve_store_errors", "Failures to reach a store.", labels=["store"])
        for name, count in self._store_errors.items():
            store.add_metric([name], count)
        yield store
