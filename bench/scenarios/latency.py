"""What the way through a gateway adds, at a rate that saturates nobody: open loop, against the upstream itself.

Added is the difference of two percentiles of one round, the upstream's asked for directly and through the gateway; of
the rounds, the median.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench.contenders import Running
from bench.ground import Ground
from bench.scenarios import measuring

TARGET = "at 1,000 requests/s: less than 1 ms added at p50 and less than 3 ms at p99"
_OURS = "portreeve-hmac-redis"
_NAMES = (_OURS, "nginx-plain", "nginx-lua", "envoy-jwt")
_DIRECT = "direct"
_RATES = (500, 1_000)
_PERCENTILES = ("p50_ms", "p99_ms")
_MOST_MS = {"p50_ms": 1.0, "p99_ms": 3.0}

Round = Mapping[str, Mapping[str, float]]


def run(ground: Ground, *, quick: bool) -> dict[str, Any]:
    rounds, seconds = (1, 3) if quick else (3, 10)
    with measuring.contenders(ground, _NAMES) as (running, missing):
        if _OURS not in running:
            return measuring.not_here(TARGET, missing[_OURS])
        for each in running.values():
            measuring.send(each.port, each.requests(2_000), ground.folder)
        # The order of rates within a round is the same; what is compared stands beside each other.
        seen = {
            rate: [_round(ground, running, rate, rate * seconds) for _ in range(rounds)] for rate in _RATES
        }
    rates = {str(rate): summary(of) for rate, of in seen.items()}
    added = rates[str(_RATES[-1])]["added"][_OURS]
    met = all(added[name] < most for name, most in _MOST_MS.items())
    return {"target": TARGET, "met": met, "seconds": seconds, "rates": rates, "missing": missing}


def _round(
    ground: Ground, running: Mapping[str, Running], rate: int, count: int
) -> dict[str, dict[str, float]]:
    ports = {_DIRECT: ground.upstream_port, **{name: each.port for name, each in running.items()}}
    seen: dict[str, dict[str, float]] = {}
    for name, port in ports.items():
        # The upstream is sent what the gateway is sent: it looks at none of it.
        requests = running[_OURS if name == _DIRECT else name].requests(count)
        answers = measuring.send(port, requests, ground.folder, rate=rate)
        seen[name] = {each: float(answers[each]) for each in _PERCENTILES}
    return seen


def summary(rounds: Sequence[Round]) -> dict[str, dict[str, dict[str, float]]]:
    names = list(rounds[0])
    return {
        "measured": {
            name: measuring.medians([each[name] for each in rounds], _PERCENTILES) for name in names
        },
        "added": {
            name: {percentile: _added(rounds, name, percentile) for percentile in _PERCENTILES}
            for name in names
            if name != _DIRECT
        },
    }


def _added(rounds: Sequence[Round], name: str, percentile: str) -> float:
    return round(statistics.median(each[name][percentile] - each[_DIRECT][percentile] for each in rounds), 3)
