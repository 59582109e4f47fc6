"""Which charts a report gives: of the comparison, and of those scenarios that a picture tells better than a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.plots import Chart, bars, lines

_PERCENTILES = {"p50_ms": "p50", "p99_ms": "p99", "p999_ms": "p99.9"}


def write(report: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """File names and the titles of what they show."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for name, chart, drawn in [*of_contenders(report["contenders"]), *of_scenarios(report["scenarios"])]:
        (folder / name).write_text(drawn)
        written[name] = chart.title
    return written


def of_contenders(contenders: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Chart, str]]:
    if not contenders:
        return
    chart = _chart("CPU per request", "µs", {name: f"{one['cpu_us']:g}" for name, one in contenders.items()})
    yield "bench-cpu.svg", chart, bars(chart, _rows(contenders, ["cpu_us"]), [""])
    told = {
        name: f"{one['p50_ms']:g} at p50, {one['p999_ms']:g} at p99.9" for name, one in contenders.items()
    }
    chart = _chart("Latency of 32 connections that never pause", "ms", told)
    drawn = bars(chart, _rows(contenders, list(_PERCENTILES)), list(_PERCENTILES.values()))
    yield "bench-latency.svg", chart, drawn
    chart = _chart("Peak memory", "MiB", {name: f"{one['rss_mib']:g}" for name, one in contenders.items()})
    yield "bench-memory.svg", chart, bars(chart, _rows(contenders, ["rss_mib"]), [""])


def of_scenarios(scenarios: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Chart, str]]:
    for rate, seen in scenarios.get("latency", {}).get("rates", {}).items():
        added = seen["added"]
        told = {name: f"{one['p50_ms']:g} at p50, {one['p99_ms']:g} at p99" for name, one in added.items()}
        chart = _chart(f"Latency added over the upstream at {int(rate):,} requests/s", "ms", told)
        drawn = bars(chart, _rows(added, ["p50_ms", "p99_ms"]), ["p50", "p99"])
        yield f"bench-added-{rate}.svg", chart, drawn
    stores = scenarios.get("soak", {}).get("stores", {})
    if stores:
        yield _over_time("bench-soak-memory.svg", "Memory of the worker over time", "MiB", "rss_mib", stores)
        yield _over_time("bench-soak-p99.svg", "p99 over time", "ms", "p99_ms", stores)


def _over_time(
    name: str, title: str, unit: str, figure: str, stores: Mapping[str, Mapping[str, Any]]
) -> tuple[str, Chart, str]:
    labels = {f"{store}, {seen['rate']:,} requests/s": seen["series"] for store, seen in stores.items()}
    series = {
        label: [(row["at_s"], row[figure]) for row in rows if figure in row] for label, rows in labels.items()
    }
    ends = {label: f"from {line[0][1]:g} to {line[-1][1]:g}" for label, line in series.items() if line}
    chart = _chart(f"{title} ({unit})", unit, ends)
    return name, chart, lines(chart, series, "seconds")


def _chart(title: str, unit: str, told: Mapping[str, str]) -> Chart:
    return Chart(
        title, f"In {unit}. " + "; ".join(f"{name}: {what}" for name, what in told.items()) + ".", unit
    )


def _rows(named: Mapping[str, Mapping[str, Any]], figures: list[str]) -> dict[str, list[float]]:
    return {name: [float(one[figure]) for figure in figures] for name, one in named.items()}
