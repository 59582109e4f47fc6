"""The core comparison: every contender on the same ground, under the same load, interleaved in one run.

All that are present are started once; then each round drives each of them in turn, in an order that rotates, so
that whatever drifts on the machine drifts for all. An answer that is not 200 fails the run, and afterwards each
contender must refuse what it claims to check: nobody wins by not checking.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any, NamedTuple

from bench import load, machine
from bench.contenders import Contender, Running, all_of
from bench.ground import Ground

YARDSTICK = "portreeve-hmac-redis"
_ROUNDS = 3
_SAMPLE = 200
_OF_LOAD = ("rps", "p50_ms", "p99_ms", "p999_ms", "generator_cpu_us")


class Size(NamedTuple):
    warm_up: int
    batch: int


_FULL, _QUICK = Size(2_000, 20_000), Size(1_000, 5_000)


class Measured(NamedTuple):
    contender: Contender
    running: Running
    rounds: list[dict[str, float]]


def compare(ground: Ground, *, quick: bool) -> dict[str, Any]:
    """`contenders` by name with their figures, and `missing` with the reason of each."""
    contenders, size = all_of(quick), _QUICK if quick else _FULL
    missing = {each.name: why for each in contenders if (why := each.missing(ground)) is not None}
    with ExitStack() as until_stopped:
        field = [
            until_stopped.enter_context(started(each, ground))
            for each in contenders
            if each.name not in missing
        ]
        run_rounds(field, ground, size)
        figures = {
            each.contender.name: {
                **summarise(each.rounds),
                "rss_mib": machine.peak_mib(each.running.pid),
                "checked": check(each, ground) | {"answered_200": _ROUNDS * size.batch},
            }
            for each in field
        }
    return {"contenders": with_ratios(figures), "missing": missing}


@contextmanager
def started(contender: Contender, ground: Ground) -> Iterator[Measured]:
    print(f"starting {contender.name}", flush=True)
    running = contender.start(ground)
    try:
        yield Measured(contender, running, [])
    finally:
        running.stop()


def run_rounds(field: list[Measured], ground: Ground, size: Size) -> None:
    for each in field:
        answered(each, each.running.requests(size.warm_up), ground)
    for number in range(_ROUNDS):
        for each in rotated(field, number):
            each.rounds.append(measure(each, ground, size.batch))
            print(f"round {number + 1}: {each.contender.name}: {each.rounds[-1]['cpu_us']} µs", flush=True)


def rotated(field: list[Measured], by: int) -> list[Measured]:
    return [*field[by % len(field) :], *field[: by % len(field)]] if field else []


def measure(each: Measured, ground: Ground, batch: int) -> dict[str, float]:
    """One batch: what the contender and Redis spent on it, and what the generator saw."""
    requests = each.running.requests(batch)
    pids = {"cpu_us": each.running.pid} | (
        {"store_cpu_us": ground.redis_pid} if ground.redis_pid is not None else {}
    )
    before = {name: machine.cpu_seconds(pid) for name, pid in pids.items()}
    seen = answered(each, requests, ground)
    spent = {name: machine.cpu_seconds(pid) - before[name] for name, pid in pids.items()}
    figures = {name: round(seconds / batch * 1e6, 1) for name, seconds in spent.items()}
    return {"store_cpu_us": 0.0, **figures, **{name: seen[name] for name in _OF_LOAD}}


def answered(each: Measured, requests: list[bytes], ground: Ground) -> dict[str, Any]:
    try:
        return load.drive(each.running.port, requests, ground.folder, expect=200)
    except load.UnexpectedAnswers as unexpected:
        raise RuntimeError(f"{each.contender.name} answered {unexpected.statuses}") from unexpected


def check(each: Measured, ground: Ground) -> dict[str, Any]:
    """What it does with a sample of forged requests, and with requests that it has answered before."""
    sent = each.running.requests(_SAMPLE)
    # Right before their replay: requests of an earlier round could be refused for being late.
    answered(each, sent, ground)
    asked = {"signature": ("tampered", each.running.tampered(_SAMPLE)), "replay": ("replayed", sent)}
    verdicts = {}
    for claim, (name, requests) in asked.items():
        statuses = load.drive(each.running.port, requests, ground.folder)["statuses"]
        claimed = claim in each.contender.checks
        if claimed and statuses != {"401": _SAMPLE}:
            raise RuntimeError(f"{each.contender.name} must refuse {name} requests, and answered {statuses}")
        verdicts[name] = {"claimed": claimed, "sent": _SAMPLE, "refused": statuses.get("401", 0)}
    return verdicts


def summarise(rounds: list[dict[str, float]]) -> dict[str, Any]:
    """The median of the rounds, and how far they lie apart in what is compared."""
    costs = [one["cpu_us"] for one in rounds]
    figures = {name: round(median(one[name] for one in rounds), 3) for name in rounds[0]}
    spread = {"cpu_us_min": min(costs), "cpu_us_max": max(costs)}
    return {**figures, "rps_per_core": round(1e6 / figures["cpu_us"]), **spread}


def with_ratios(figures: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Against Portreeve as it runs in production; None when that could not run here."""
    against = figures[YARDSTICK]["cpu_us"] if YARDSTICK in figures else None
    return {
        name: {**one, "ratio": None if against is None else round(one["cpu_us"] / against, 2)}
        for name, one in figures.items()
    }
