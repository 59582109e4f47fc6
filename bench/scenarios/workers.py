"""One worker against two on the same Redis: what a request costs, and how evenly the two share the work.

Load and upstream take their part of the same cores, so throughput can't double here. What can be shown is that a
second worker makes no request dearer: two workers then do twice the work of one wherever there is a core for each. Each
worker gets 32 connections: what shares a look at the sockets or a call to the store is then as much for each of two as
for one.
"""

from __future__ import annotations

from typing import Any

from bench import machine
from bench.contenders.requests import Signed
from bench.deployment import Deployment
from bench.ground import Ground
from bench.scenarios import measuring

TARGET = "two workers do at least 1.8 times the work of one per CPU of one: 2 x cost with 1 / cost with 2"
_LEAST_GAIN = 1.8
# Of each worker.
_CONNECTIONS = 32
_FIGURES = ("cpu_us", "rps", "p50_ms", "p99_ms", "busiest_share")


def run(ground: Ground, *, quick: bool) -> dict[str, Any]:
    rounds, count = (1, 8_000) if quick else (5, 20_000)
    urls = [measuring.store_url(ground, database) for database in (1, 2)]
    if urls[0] is None:
        return measuring.not_here(TARGET, "redis-server")
    with (
        measuring.deployed(ground, redis_url=urls[0]) as one,
        measuring.deployed(ground, redis_url=urls[1], workers=2) as two,
    ):
        sized = {"1": (one, measuring.new_key(one)), "2": (two, measuring.new_key(two))}
        for workers, (deployment, signed) in sized.items():
            _load(ground, deployment, signed, count, _CONNECTIONS * int(workers))
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in sized}
        for _ in range(rounds):
            for name, (deployment, signed) in sized.items():
                runs[name].append(_load(ground, deployment, signed, count, _CONNECTIONS * int(name)))
    results = {name: measuring.medians(seen, _FIGURES) for name, seen in runs.items()}
    gain = measuring.ratio(2 * results["1"]["cpu_us"], results["2"]["cpu_us"])
    throughput = measuring.ratio(results["2"]["rps"], results["1"]["rps"])
    return {
        "target": TARGET,
        "met": gain >= _LEAST_GAIN,
        "gain": gain,
        "throughput_ratio": throughput,
        "workers": results,
    }


def _load(
    ground: Ground, deployment: Deployment, signed: Signed, count: int, connections: int
) -> dict[str, Any]:
    pid = deployment.gateway.pid
    before = _cpu_of_each(pid)
    seen = measuring.drive(deployment.port, pid, signed.make(count), ground.folder, connections=connections)
    after = _cpu_of_each(pid)
    return {**seen, "busiest_share": busiest_share([after[each] - before[each] for each in before])}


def _cpu_of_each(pid: int) -> dict[int, float]:
    """Of each worker; a node with one worker is that worker."""
    return {each: machine.cpu_seconds(each) for each in machine.tree(pid)[1:] or [pid]}


def busiest_share(used: list[float]) -> float:
    """0.5 of two is even; 1.0 is one that does it all."""
    return measuring.ratio(max(used), sum(used))
