"""One worker against two, and what stands beside them. Nothing is loaded here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import arithmetic
from bench.ground import Ground
from bench.scenarios import measuring, workers


def _figures(*costs: float) -> list[dict[str, float]]:
    return [
        {"cpu_us": cost, "rps": 1_000.0, "p50_ms": 1.0, "p99_ms": 2.0, "busiest_share": 0.5} for cost in costs
    ]


def _seen(**costs: tuple[list[float], list[float]]) -> dict[str, list[dict[str, float]]]:
    return {
        f"{name.replace('_', '-')}-{count}": _figures(*each)
        for name, both in costs.items()
        for count, each in zip((1, 2), both, strict=True)
    }


def test_a_gain_is_that_of_one_round() -> None:
    """Rounds that drift to twice the cost change no gain; by medians of all, this would be 1.333."""
    seen = _seen(portreeve_hmac_redis=([40.0, 80.0, 40.0], [40.0, 100.0, 60.0]))
    told = workers.summary(seen)["gains"]["portreeve-hmac-redis"]
    assert (told["gain"], told["lowest"], told["highest"]) == (1.6, 1.333, 2.0)
    assert (told["cpu_us_of_one"], told["cpu_us_of_two"]) == (40.0, 60.0)


def test_controls_stand_beside_and_decide_nothing() -> None:
    """Where everybody loses, ours is still what it is."""
    seen = _seen(
        portreeve_hmac_redis=([40.0], [50.0]), nginx_plain=([8.0], [10.0]), arithmetic=([1.0], [1.0])
    )
    told = workers.summary(seen)
    assert {name: each["gain"] for name, each in told["gains"].items()} == {
        "portreeve-hmac-redis": 1.6,
        "nginx-plain": 1.6,
        "arithmetic": 2.0,
    }
    assert not told["met"]
    assert workers.summary({**seen, **_seen(portreeve_hmac_redis=([45.0], [50.0]))})["met"]


def test_a_control_that_cannot_run_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With one worker and with two, and the rest is measured without it."""
    lacking = {"nginx-lua-1": "no Lua", "nginx-lua-2": "no Lua"}
    asked: list[str] = []

    class _Wanted:
        def __init__(self, name: str) -> None:
            self.name = name
            self.port, self.pid = 0, 0

        def missing(self, _ground: Ground) -> str | None:
            return lacking.get(self.name)

        def start(self, _ground: Ground) -> Any:  # noqa: ANN401  all that a load wants of one that runs
            return self

        def requests(self, _count: int) -> list[bytes]:
            return [b""]

        def stop(self) -> None:
            asked.append(self.name)

    makers = {
        name: (lambda count, name=name: _Wanted(f"{name}-{count}"))
        for name in ("portreeve-hmac-redis", "nginx-lua")
    }
    monkeypatch.setattr(workers, "_WITH", makers)
    monkeypatch.setattr(workers, "_load", lambda *_: _figures(10.0)[0])
    monkeypatch.setattr(measuring, "await_served", lambda *_: None)
    monkeypatch.setattr(arithmetic, "cpu_us_each", float)
    told = workers.run(Ground(tmp_path, redis_port=None), quick=False)
    assert told["missing"] == lacking
    assert told["gains"].keys() == {"portreeve-hmac-redis", "arithmetic"}
    assert sorted(asked) == ["portreeve-hmac-redis-1", "portreeve-hmac-redis-2"]
    assert told["rounds"] > 1


def test_without_redis_there_is_nothing_to_compare(tmp_path: Path) -> None:
    """It is told with its reason, and nothing is started."""
    told = workers.run(Ground(tmp_path, redis_port=None), quick=True)
    assert not told["met"]
    assert "redis-server" in told["missing"]


def test_arithmetic_is_counted_by_each_that_does_it() -> None:
    """Of two at once, the cost is that of one piece."""
    assert arithmetic.cpu_us_each(2, rounds=1_000) > 0
    assert arithmetic.work(3) != arithmetic.work(2)


def test_one_worker_that_does_it_all_shows() -> None:
    """And workers that did nothing divide by nothing."""
    assert workers.busiest_share([1.0, 1.0]) == 0.5
    assert workers.busiest_share([2.0, 0.0]) == 1.0
    assert workers.busiest_share([0.0, 0.0]) == 0.0
