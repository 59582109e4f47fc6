"""One worker against two on the same Redis: what a request costs, how evenly the two share the work, and what others
lose by being two on the same machine.

Load and upstream take their part of the same cores, so throughput can't double here. What can be shown is that a
second worker makes no request dearer: two workers then do twice the work of one wherever there is a core for each. Each
worker gets 32 connections: what shares a look at the sockets or a call to the store is then as much for each of two as
for one.

Whatever the machine takes from two programs that work at once, no gateway can give back. So nginx is asked the same
under the same load, plain and with its gate in Lua, and arithmetic that shares nothing. A control that can't run here
is named as missing. All take turns, in each round in the opposite order of the one before; a gain is the median of the
rounds', and the lowest and highest are told beside it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench import arithmetic, machine
from bench.contenders import Contender, Running
from bench.contenders.nginx import NginxPlain
from bench.contenders.nginx_lua import NginxLua
from bench.contenders.portreeve import Portreeve
from bench.ground import Ground
from bench.scenarios import measuring

TARGET = "two workers do at least 1.8 times the work of one per CPU of one: 2 x cost with 1 / cost with 2"
_LEAST_GAIN = 1.8
# Of each worker.
_CONNECTIONS = 32
_FIGURES = ("cpu_us", "rps", "p50_ms", "p99_ms", "busiest_share")
_OURS = "portreeve-hmac-redis"
_ARITHMETIC = "arithmetic"
_WITH: dict[str, Callable[[int], Contender]] = {
    _OURS: lambda workers: Portreeve(f"{_OURS}-{workers}", redis=True, workers=workers),
    "nginx-plain": lambda workers: NginxPlain(f"nginx-plain-{workers}", workers),
    "nginx-lua": lambda workers: NginxLua(f"nginx-lua-{workers}", workers),
}
_COUNTS = (1, 2)

# What was seen of one in one round.
Figures = Mapping[str, float]


def run(ground: Ground, *, quick: bool) -> dict[str, Any]:
    rounds, count = (1, 8_000) if quick else (9, 20_000)
    field = [each(workers) for each in _WITH.values() for workers in _COUNTS]
    # Controls alone would show nothing.
    if (why := _WITH[_OURS](1).missing(ground)) is not None:
        return measuring.not_here(TARGET, why)
    with measuring.started(ground, field) as (running, missing):
        for name, each in running.items():
            _load(ground, each, count, _workers_of(name))
        seen: dict[str, list[Figures]] = {name: [] for name in (*running, *_named(_ARITHMETIC))}
        for number in range(rounds):
            for name in list(seen)[:: -1 if number % 2 else 1]:
                seen[name].append(_one(ground, running.get(name), count, _workers_of(name)))
    return {**summary(seen), "missing": missing}


def summary(seen: Mapping[str, Sequence[Figures]]) -> dict[str, Any]:
    """By names that end in the number of workers; each with one figure a round, all of them in the same rounds."""
    gains = {
        name: _gain(*(seen[each] for each in _named(name)))
        for name in (*_WITH, _ARITHMETIC)
        if seen.keys() >= set(_named(name))
    }
    ours = {str(workers): measuring.medians(seen[f"{_OURS}-{workers}"], _FIGURES) for workers in _COUNTS}
    return {
        "target": TARGET,
        "met": gains[_OURS]["gain"] >= _LEAST_GAIN,
        "gain": gains[_OURS]["gain"],
        "throughput_ratio": measuring.ratio(ours["2"]["rps"], ours["1"]["rps"]),
        "rounds": len(seen[f"{_OURS}-1"]),
        "threads_of_a_core": machine.threads_of_a_core(),
        "gains": gains,
        "workers": ours,
    }


def _gain(one: Sequence[Figures], two: Sequence[Figures]) -> dict[str, float]:
    """Of each round by itself: rounds drift apart, and what is compared stands in one."""
    gains = [
        measuring.ratio(2 * with_one["cpu_us"], with_two["cpu_us"])
        for with_one, with_two in zip(one, two, strict=True)
    ]
    return {
        "gain": round(statistics.median(gains), 3),
        "lowest": min(gains),
        "highest": max(gains),
        "cpu_us_of_one": measuring.medians(one, ["cpu_us"])["cpu_us"],
        "cpu_us_of_two": measuring.medians(two, ["cpu_us"])["cpu_us"],
        # One that did it all would be one worker, measured twice.
        "busiest_share_of_two": measuring.medians(two, ["busiest_share"])["busiest_share"],
    }


def _named(name: str) -> list[str]:
    return [f"{name}-{workers}" for workers in _COUNTS]


def _workers_of(name: str) -> int:
    return int(name.rpartition("-")[2])


def _one(ground: Ground, running: Running | None, count: int, workers: int) -> Figures:
    if running is None:
        return {"cpu_us": arithmetic.cpu_us_each(workers), "busiest_share": 1 / workers}
    return _load(ground, running, count, workers)


def _load(ground: Ground, running: Running, count: int, workers: int) -> dict[str, Any]:
    before = _cpu_of_each(running.pid)
    seen = measuring.drive(
        running.port,
        running.pid,
        running.requests(count),
        ground.folder,
        connections=_CONNECTIONS * workers,
    )
    after = _cpu_of_each(running.pid)
    return {**seen, "busiest_share": busiest_share([after[each] - before[each] for each in before])}


def _cpu_of_each(pid: int) -> dict[int, float]:
    """Of each worker; a node with one worker is that worker."""
    return {each: machine.cpu_seconds(each) for each in machine.tree(pid)[1:] or [pid]}


def busiest_share(used: list[float]) -> float:
    """0.5 of two is even; 1.0 is one that does it all."""
    return measuring.ratio(max(used), sum(used))
