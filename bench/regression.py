"""Has a request become dearer? `python -m bench.regression [--accept | --bytecodes]`.

Seconds mean nothing on a machine that others share, so two ratios are compared with `bench/baseline.json`:

- the bytecodes that the interpreter runs for a signed request. Two runs of one tree differ by a thousandth, so little
  is tolerated; they depend on the interpreter's version, so another one than the baseline's is not compared.
- its CPU in *yardsticks*: what a bare application behind plain uvicorn takes for an answer, on the same machine in the
  same minute, the best of a few interleaved rounds. It sees what bytecodes don't: a slow call into C, one more system
  call.

What exceeds its tolerance fails, and the stages that grew are named. `--accept` makes what was measured the baseline;
`--bytecodes` looks at the first alone, which is steady enough for a check that every change has to pass.

A request is other work with the compiled room and without it (`PORTREEVE_COMPILED=off`), so each has a baseline of its
own, and only what runs is compared and accepted.
"""

from __future__ import annotations

import platform
import sys
import tempfile
from pathlib import Path

import msgspec

import compiled
from bench import profile, servers
from bench.deployment import free_port
from bench.ground import Ground

_BASELINE = Path(__file__).parent / "baseline.json"
_ROUNDS = 3
_REQUESTS = 15_000
_COUNTED_REQUESTS = 2_000
_BYTECODES_TOLERANCE = 1.02
_YARDSTICKS_TOLERANCE = 1.25


class Cost(msgspec.Struct, frozen=True):
    whole: float
    stages: dict[str, float]


class Measured(msgspec.Struct, frozen=True):
    """Of one signed request on the in-process store, which is there everywhere."""

    python: str
    bytecodes: Cost
    yardsticks: Cost | None


class Baselines(msgspec.Struct, frozen=True):
    compiled: Measured
    interpreted: Measured


def measure(ground: Ground, *, bytecodes_alone: bool) -> Measured:
    bytecodes = profile.take(ground, "bytecodes", _COUNTED_REQUESTS, on_redis=False)
    return Measured(
        ".".join(platform.python_version_tuple()[:2]),
        Cost(round(bytecodes.whole), {stage: round(count) for stage, count in bytecodes.stages.items()}),
        None if bytecodes_alone else _in_yardsticks(ground),
    )


def _in_yardsticks(ground: Ground) -> Cost:
    yardsticks, samples = [], []
    for _ in range(_ROUNDS):
        port = free_port()
        yardsticks.append(servers.measure(servers.commands(port)["uvicorn"], port)["cpu_us"])
        samples.append(profile.take(ground, "samples", _REQUESTS, on_redis=False))
    yardstick, best = min(yardsticks), min(samples, key=lambda each: each.whole)
    stages = {stage: round(spent / yardstick, 2) for stage, spent in best.stages.items()}
    return Cost(round(best.whole / yardstick, 2), stages)


def regressions(measured: Measured, baseline: Measured) -> list[str]:
    found = []
    if measured.python == baseline.python:
        found.append(_regression("bytecodes", measured.bytecodes, baseline.bytecodes, _BYTECODES_TOLERANCE))
    if measured.yardsticks is not None and baseline.yardsticks is not None:
        now, then = measured.yardsticks, baseline.yardsticks
        found.append(_regression("yardsticks", now, then, _YARDSTICKS_TOLERANCE))
    return [each for each in found if each is not None]


def _regression(unit: str, now: Cost, then: Cost, tolerance: float) -> str | None:
    if now.whole <= then.whole * tolerance:
        return None
    grown = {stage: spent - then.stages.get(stage, 0.0) for stage, spent in now.stages.items()}
    worst = sorted(grown, key=lambda stage: -grown[stage])[:3]
    named = ", ".join(f"{stage} by {grown[stage]:.4g}" for stage in worst)
    return f"a request takes {now.whole:g} {unit}, the baseline is {then.whole:g}; grown most: {named}"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Ground(Path(folder), redis_port=None) as ground:
        measured = measure(ground, bytecodes_alone="--bytecodes" in sys.argv)
    way = "compiled" if compiled.IS_USED else "interpreted"
    bytecodes = f"{measured.bytecodes.whole:g} bytecodes of Python {measured.python}"
    print(f"a request takes {bytecodes}, {compiled.describe()}")
    if measured.yardsticks is not None:
        print(f"and {measured.yardsticks.whole:g} yardsticks of CPU")
    baselines = msgspec.json.decode(_BASELINE.read_bytes(), type=Baselines)
    if "--accept" in sys.argv:
        accepted = msgspec.structs.replace(baselines, **{way: measured})
        _BASELINE.write_bytes(msgspec.json.format(msgspec.json.encode(accepted)) + b"\n")
        return
    found = regressions(measured, getattr(baselines, way))
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
