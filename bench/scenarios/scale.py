"""Ten thousand keys and five hundred routes against ten and five: a request must cost the same.

Requests go round through all keys and all routes, so that nothing is found only because it was asked for a moment ago.
The same many keys and routes are also asked as the few are, by ten of them: that tells what is paid for tables being
large from what is paid for callers being many, each of whom has an identity assertion of its own to be signed.

A round is some ten seconds long: assertions are signed anew after ten seconds and uses of keys are written down every
five, and a shorter round would hold those costs twice or not at all. For the same reason the few are asked last before
the many, whose uses are then long written down.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench import machine
from bench.configuration import extra_target
from bench.contenders.requests import Signed
from bench.deployment import Deployment
from bench.ground import Ground
from bench.scenarios import many_keys, measuring

TARGET = "a request costs at most 5 % more CPU with 10,000 keys and 500 routes than with 10 and 5"
_MOST_RATIO = 1.05
_FIGURES = ("cpu_us", "rps", "p50_ms", "p99_ms")


class Size(NamedTuple):
    keys: int
    routes: int


class _Sized(NamedTuple):
    deployment: Deployment
    keys: list[Signed]
    size: Size
    idle_mib: float


_SMALL, _LARGE, _LARGE_QUICK = Size(10, 5), Size(10_000, 500), Size(2_000, 500)


def run(ground: Ground, *, quick: bool) -> dict[str, Any]:
    rounds, count, large = (1, 12_000, _LARGE_QUICK) if quick else (3, 150_000, _LARGE)
    with _deployed(ground, 1, _SMALL) as small, _deployed(ground, 2, large) as many:
        sized = {"small": small, "large_few_asking": _asked_as(many, _SMALL), "large": many}
        for each in sized.values():
            # Every key once at the least, so that none is met for the first time while it counts.
            _load(ground, each, 2 * large.keys)
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in sized}
        for _ in range(rounds):
            for name, each in sized.items():
                runs[name].append(_load(ground, each, count))
        results = {
            name: {**_facts(each), **measuring.medians(runs[name], _FIGURES)} for name, each in sized.items()
        }
    ratio, few_asking = (
        measuring.ratio(results[name]["cpu_us"], results["small"]["cpu_us"])
        for name in ("large", "large_few_asking")
    )
    return {
        "target": TARGET,
        "met": ratio <= _MOST_RATIO,
        "ratio": ratio,
        "ratio_few_asking": few_asking,
        "sizes": results,
    }


def _asked_as(many: _Sized, size: Size) -> _Sized:
    return many._replace(keys=many.keys[: size.keys], size=size)


def _facts(sized: _Sized) -> dict[str, float]:
    return {
        "keys": sized.size.keys,
        "routes": sized.size.routes,
        "start_seconds": sized.deployment.start_seconds,
        "idle_mib": sized.idle_mib,
        "rss_mib": machine.rss_mib(sized.deployment.gateway.pid),
    }


@contextmanager
def _deployed(ground: Ground, database: int, size: Size) -> Iterator[_Sized]:
    keys: list[Signed] = []

    def fill(configuration: Path) -> None:
        keys.extend(many_keys.create(configuration, size.keys))

    url = measuring.store_url(ground, database)
    with measuring.deployed(ground, redis_url=url, extra_routes=size.routes, prepare=fill) as deployment:
        yield _Sized(deployment, keys, size, machine.rss_mib(deployment.gateway.pid))


def _load(ground: Ground, sized: _Sized, count: int) -> dict[str, Any]:
    requests = spread(sized.keys, sized.size.routes, count)
    return measuring.drive(sized.deployment.port, sized.deployment.gateway.pid, requests, ground.folder)


def spread(keys: Sequence[Signed], routes: int, count: int) -> list[bytes]:
    """Each key in turn; the route steps on by one more each time the keys come round, so that they mix."""
    return [
        keys[at % len(keys)].make(1, extra_target((at + at // len(keys)) % routes))[0] for at in range(count)
    ]
