"""Ten minutes at a steady rate: memory must come to rest, and no pause may show.

Open loop, in windows of ten seconds: each window's requests are signed just before it, so that they are fresh and
the generator's memory stays bounded, and each gives one row of the series. The in-process store keeps nonces for up to
five minutes, 400,000 at most and half of them of one partner; its rate and its partners are chosen to stay below
that, and its memory can only be at rest after those minutes: what is judged is the second half.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bench import load, machine
from bench.contenders.requests import Signed
from bench.deployment import Deployment
from bench.ground import Ground
from bench.scenarios import measuring

TARGET = (
    "every answer is 200, memory grows by less than 5 % in the second half, and p99.9 of the median window is "
    "below 50 ms"
)
_MOST_GROWTH = 0.05
_MOST_P999_MS = 50.0
_PERCENTILES = ("p50_ms", "p99_ms", "p999_ms", "max_ms")

Row = Mapping[str, float]


class Pace(NamedTuple):
    rate: int
    seconds: float
    window_s: float


_PARTNERS = ("acme", "second", "third", "fourth")
_RATES = {"memory": 1_000, "redis": 2_000}


def run(ground: Ground, *, quick: bool) -> dict[str, Any]:
    seconds, window_s = (20.0, 2.0) if quick else (600.0, 10.0)
    stores: dict[str, Any] = {"memory": _soak(ground, None, Pace(_RATES["memory"], seconds, window_s))}
    url = measuring.store_url(ground)
    missing = {"redis": "redis-server"} if url is None else {}
    if url is not None:
        stores["redis"] = _soak(ground, url, Pace(_RATES["redis"], seconds, window_s))
    met = not missing and all(is_steady(of) for of in stores.values())
    return {"target": TARGET, "met": met, "seconds": seconds, "stores": stores, "missing": missing}


def _soak(ground: Ground, url: str | None, pace: Pace) -> dict[str, Any]:
    with measuring.deployed(ground, redis_url=url) as deployment:
        keys = [_key(deployment, partner) for partner in _PARTNERS]
        before, began = machine.cpu_seconds(deployment.gateway.pid), time.monotonic()
        series: list[dict[str, float]] = []
        while time.monotonic() - began < pace.seconds:
            row = _window(ground, deployment, keys, pace)
            series.append({"at_s": round(time.monotonic() - began, 1), **row})
        used = machine.cpu_seconds(deployment.gateway.pid) - before
    count = len(series) * round(pace.rate * pace.window_s)
    return {"rate": pace.rate, "requests": count, "cpu_us": round(used / count * 1e6, 1), **summary(series)}


def _key(deployment: Deployment, partner: str) -> Signed:
    if partner != _PARTNERS[0]:
        deployment.create_partner(partner, "standard")
    return measuring.new_key(deployment, partner)


def _window(ground: Ground, deployment: Deployment, keys: Sequence[Signed], pace: Pace) -> dict[str, float]:
    deployment.forget_log()
    each = round(pace.rate * pace.window_s) // len(keys)
    made = [key.make(each) for key in keys]
    requests = [request for of_keys in zip(*made, strict=True) for request in of_keys]
    # Counted rather than fatal: after nine minutes the series is worth more than the end of it.
    answers = load.drive(deployment.port, requests, ground.folder, rate=pace.rate, expect=None)
    row = {name: float(answers[name]) for name in _PERCENTILES}
    row["not_200"] = len(requests) - answers["statuses"].get("200", 0)
    if row["not_200"]:
        print(f"soak: {answers['statuses']}, refused: {deployment.refusals()}", file=sys.stderr)
    return {"rss_mib": machine.rss_mib(deployment.gateway.pid), **_store_memory(ground), **row}


def _store_memory(ground: Ground) -> dict[str, float]:
    return {} if ground.redis_pid is None else {"store_rss_mib": machine.rss_mib(ground.redis_pid)}


def summary(series: list[dict[str, float]]) -> dict[str, Any]:
    rss = [row["rss_mib"] for row in series]
    return {
        "growth": growth(rss),
        "rss_first_mib": rss[0],
        "rss_last_mib": rss[-1],
        "median_window": measuring.medians(series, _PERCENTILES),
        "not_200": sum(row["not_200"] for row in series),
        "worst_ms": max(row["max_ms"] for row in series),
        "series": series,
    }


def growth(rss: Sequence[float]) -> float:
    """From the middle to the end, by medians of tenths: one odd sample decides nothing."""
    some, middle = max(1, len(rss) // 10), len(rss) // 2
    then, now = statistics.median(rss[middle : middle + some]), statistics.median(rss[-some:])
    return round(now / then - 1, 4)


def is_steady(soaked: Mapping[str, Any]) -> bool:
    p999 = soaked["median_window"]["p999_ms"]
    return bool(soaked["growth"] < _MOST_GROWTH and p999 < _MOST_P999_MS and not soaked["not_200"])
