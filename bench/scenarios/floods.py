"""Refusing must be cheaper than serving: wrong signatures, and a partner beyond its limit, beside good requests.

All three go to one gateway in turns, in each round in the opposite order of the one before, with nonces of their own.
Rounds drift apart, so a ratio is the median of the rounds' ratios. The limit on addresses is far above what is sent, so
what refuses is what is meant to: the signature, and the key's own limit.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from bench import machine
from bench.configuration import TARGET as ORDERS
from bench.contenders.requests import Signed
from bench.deployment import Deployment
from bench.ground import Ground
from bench.scenarios import measuring

TARGET = "a refused request costs less CPU than an accepted one"
_FIGURES = ("cpu_us", "store_cpu_us", "rps", "p50_ms", "p99_ms")


class _Kind(NamedTuple):
    status: int
    make: Callable[[int], list[bytes]]


def run(ground: Ground, *, quick: bool) -> dict[str, Any]:
    rounds, count = (1, 5_000) if quick else (9, 10_000)
    url = measuring.store_url(ground)
    if url is None:
        return measuring.not_here(TARGET, "redis-server")
    with measuring.deployed(ground, redis_url=url) as deployment:
        kinds = _kinds(deployment)
        for kind in kinds.values():
            _load(ground, deployment, kind, count // 5)
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in kinds}
        for number in range(rounds):
            for name in list(kinds)[:: -1 if number % 2 else 1]:
                runs[name].append(_load(ground, deployment, kinds[name], count))
    results = {name: measuring.medians(seen, _FIGURES) for name, seen in runs.items()}
    return {"target": TARGET, "rounds": rounds, **verdict(runs), "requests": results}


def verdict(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """Of what was seen of each kind, one a round."""
    ratios = {name: _ratio(seen, runs["accepted"]) for name, seen in runs.items() if name != "accepted"}
    return {"met": max(ratios.values()) < 1.0, "ratio": ratios}


def _ratio(seen: Sequence[Mapping[str, float]], accepted: Sequence[Mapping[str, float]]) -> float:
    of_rounds = [
        measuring.ratio(one["cpu_us"], other["cpu_us"]) for one, other in zip(seen, accepted, strict=True)
    ]
    return round(statistics.median(of_rounds), 3)


def _kinds(deployment: Deployment) -> dict[str, _Kind]:
    deployment.create_partner("hasty", "tiny")
    good, hasty = measuring.new_key(deployment), measuring.new_key(deployment, "hasty")
    _require_own_limit(deployment, hasty)
    return {
        "accepted": _Kind(200, lambda count: good.make(count, ORDERS)),
        "wrong_signature": _Kind(
            401, lambda count: [with_wrong_signature(request) for request in good.make(count, ORDERS)]
        ),
        "rate_limited": _Kind(429, lambda count: hasty.make(count, ORDERS)),
    }


def with_wrong_signature(request: bytes) -> bytes:
    """Well-formed, and wrong by one digit: all of the work of checking it has to be done."""
    at = request.index(b"portreeve-signature: ") + len(b"portreeve-signature: ")
    digit = b"0" if request[at : at + 1] != b"0" else b"1"
    return request[:at] + digit + request[at + 1 :]


def _require_own_limit(deployment: Deployment, hasty: Signed) -> None:
    status, body = measuring.ask(deployment.port, hasty.make(1, ORDERS)[0])
    limit = json.loads(body).get("limit") if status == 429 else None
    if limit != "tiny.key":
        raise RuntimeError(f"answered {status}, refused by the limit {limit}")


def _load(ground: Ground, deployment: Deployment, kind: _Kind, count: int) -> dict[str, Any]:
    store = ground.redis_pid
    before = 0.0 if store is None else machine.cpu_seconds(store)
    seen = measuring.drive(
        deployment.port, deployment.gateway.pid, kind.make(count), ground.folder, status=kind.status
    )
    used = 0.0 if store is None else machine.cpu_seconds(store) - before
    return {**seen, "store_cpu_us": round(used / count * 1e6, 1)}
