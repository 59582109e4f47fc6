"""Where the CPU of one request goes, by stage: `python -m bench.profile`.

A signed request on a gateway that samples itself (`bench.sampling`). The shares of the samples are laid over the CPU
per request of the same run, so that the rows add up to what was measured.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import msgspec

from bench import machine
from bench.deployment import Deployment, hmac_signer, signed_requests
from bench.ground import Ground
from bench.load import drive

_REQUESTS = 30_000
_WARM_UP = 2_000
_FUNCTIONS = 25

# The first that fits. A stage is billed for what it calls, wherever that lives.
_STAGES = (
    ("server", ("gateway/server/",)),
    ("admit", ("gateway/stages/admit.py", "gateway/headers.py", "gateway/paths.py", "gateway/sources.py")),
    ("limit_source", ("gateway/stages/limit_source.py",)),
    ("match_route", ("gateway/stages/match_route.py", "gateway/routes.py", "gateway/patterns.py")),
    ("admit_once", ("gateway/stages/admit_once.py", "auth/admission/", "policies/gcra.py", "keys/usage.py")),
    ("authorize", ("gateway/stages/authorize.py", "policies/")),
    ("assert_identity", ("gateway/stages/assert_identity.py", "auth/assertion.py", "auth/identity")),
    ("authenticate", ("gateway/stages/authenticate.py", "gateway/bodies.py", "auth/", "keys/")),
    (
        "forward",
        (
            "gateway/stages/forward.py",
            "gateway/outbound.py",
            "gateway/upstream/",
            "gateway/ret",
            "gateway/rat",
        ),
    ),
    (
        "observe",
        ("gateway/observers.py", "gateway/metrics.py", "gateway/totals.py", "gateway/request_log.py"),
    ),
    ("edge", ("gateway/",)),
    ("event loop", ("",)),
)


class Profile(msgspec.Struct, frozen=True):
    """`stages` and `functions` in microseconds of CPU per request; the stages add up to `cpu_us`."""

    cpu_us: float
    stages: dict[str, float]
    functions: dict[str, float]


class _Sampled(Deployment):
    def __init__(self, folder: Path, redis_url: str | None, upstream_port: int) -> None:
        super().__init__(folder, redis_url, upstream_port=upstream_port)
        self.samples = folder / "samples.json"

    def _portreeve(self, *arguments: str) -> list[str]:
        command = super()._portreeve(*arguments)
        if arguments != ("serve",):
            return command
        return [sys.executable, "-m", "bench.sampling", str(self.samples), *command[3:]]

    def toggle(self) -> None:
        os.kill(self.gateway.pid, signal.SIGUSR2)

    def read_samples(self) -> list[tuple[str, str, int]]:
        deadline = time.monotonic() + 10
        while not self.samples.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        told: list[tuple[str, str, int]] = json.loads(self.samples.read_text())
        return told


def take(ground: Ground, *, requests: int = _REQUESTS, on_redis: bool = True) -> Profile:
    redis_url = ground.redis_url if on_redis else None
    with tempfile.TemporaryDirectory(dir=ground.folder) as name:
        folder = Path(name)
        deployment = _Sampled(folder, redis_url, ground.upstream_port)
        with deployment:
            key = deployment.create_key("--algorithm", "hmac-sha256")
            time.sleep(1)
            cpu_us = _drive(deployment, key, requests, folder)
            return _laid_over(cpu_us, deployment.read_samples())


def _drive(deployment: _Sampled, key: dict[str, Any], requests: int, folder: Path) -> float:
    sign = hmac_signer(key)
    drive(deployment.port, signed_requests(key, _WARM_UP, sign), folder)
    ready = signed_requests(key, requests, sign)
    deployment.toggle()
    before = machine.cpu_seconds(deployment.gateway.pid)
    told = drive(deployment.port, ready, folder)
    used = machine.cpu_seconds(deployment.gateway.pid) - before
    deployment.toggle()
    if told["statuses"] != {"200": requests}:
        raise RuntimeError(f"unexpected answers: {told['statuses']}")
    return used / requests * 1e6


def _laid_over(cpu_us: float, samples: list[tuple[str, str, int]]) -> Profile:
    per_sample = cpu_us / sum(count for _, _, count in samples)
    stages: dict[str, float] = defaultdict(float)
    functions: Counter[str] = Counter()
    for file, function, count in samples:
        stages[_stage(file)] += count * per_sample
        functions[f"{file}:{function}" if file else function] += count
    ordered = sorted(stages.items(), key=lambda row: -row[1])
    return Profile(
        round(cpu_us, 1),
        {stage: round(spent, 2) for stage, spent in ordered},
        {place: round(count * per_sample, 2) for place, count in functions.most_common(_FUNCTIONS)},
    )


def _stage(file: str) -> str:
    return next(stage for stage, files in _STAGES if file.startswith(files))


def show(profile: Profile) -> str:
    rows = [f"{'stage':<18}{'µs':>8}{'share':>8}"]
    rows += [
        f"{stage:<18}{spent:>8.1f}{spent / profile.cpu_us:>8.1%}" for stage, spent in profile.stages.items()
    ]
    rows += [
        f"{'one request':<18}{profile.cpu_us:>8.1f}",
        "",
        "the functions that take most, what they call included",
    ]
    rows += [f"{spent:>8.2f}  {place}" for place, spent in profile.functions.items()]
    return "\n".join(rows)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Ground(Path(folder)) as ground:
        print(show(take(ground)))


if __name__ == "__main__":
    main()
