"""Has a request become dearer? `python -m bench.regression [--accept]`.

Seconds mean nothing on a machine that others share, so the cost of a signed request is measured in *yardsticks*: the
CPU that a bare application behind plain uvicorn takes for an answer, on the same machine, in the same minute. The
best of a few interleaved rounds is compared with `bench/baseline.json`. What exceeds it by more than the tolerance
fails, and the stages that grew are named. `--accept` writes what was measured as the new baseline.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import msgspec

from bench import profile, servers
from bench.deployment import free_port
from bench.ground import Ground

_BASELINE = Path(__file__).parent / "baseline.json"
_ROUNDS = 3
_REQUESTS = 15_000
_TOLERANCE = 1.2


class Measured(msgspec.Struct, frozen=True):
    """In yardsticks."""

    request: float
    stages: dict[str, float]


def measure(ground: Ground) -> Measured:
    yardsticks, profiles = [], []
    for _ in range(_ROUNDS):
        port = free_port()
        yardsticks.append(servers.measure(servers.commands(port)["uvicorn"], port)["cpu_us"])
        # The in-process store: there is one everywhere, and the path around it is the same.
        profiles.append(profile.take(ground, requests=_REQUESTS, on_redis=False))
    yardstick, best = min(yardsticks), min(profiles, key=lambda each: each.cpu_us)
    return Measured(
        round(best.cpu_us / yardstick, 3),
        {stage: round(spent / yardstick, 3) for stage, spent in sorted(best.stages.items())},
    )


def find_regression(measured: Measured, baseline: Measured) -> str | None:
    if measured.request <= baseline.request * _TOLERANCE:
        return None
    grown = {stage: spent - baseline.stages.get(stage, 0.0) for stage, spent in measured.stages.items()}
    worst = sorted(grown, key=lambda stage: -grown[stage])[:3]
    named = ", ".join(f"{stage} by {grown[stage]:.2f}" for stage in worst)
    return (
        f"a request costs {measured.request:.2f} yardsticks, the baseline is {baseline.request:.2f}; "
        f"grown most: {named}"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Ground(Path(folder), redis_port=None) as ground:
        measured = measure(ground)
    if "--accept" in sys.argv:
        _BASELINE.write_bytes(msgspec.json.format(msgspec.json.encode(measured)) + b"\n")
        print(f"the baseline is {measured.request:.2f} yardsticks a request")
        return
    baseline = msgspec.json.decode(_BASELINE.read_bytes(), type=Measured)
    regression = find_regression(measured, baseline)
    if regression is not None:
        sys.exit(regression)
    print(f"a request costs {measured.request:.2f} yardsticks, the baseline is {baseline.request:.2f}")


if __name__ == "__main__":
    main()
