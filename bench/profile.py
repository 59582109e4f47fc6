"""Where the cost of one request goes, by stage: `python -m bench.profile`.

A signed request on gateways that watch themselves (`bench.instrumented`): one samples, and its samples are laid over
the CPU per request of the same run, so that the rows add up to what was measured; one counts bytecodes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Literal

import msgspec

from bench import machine
from bench.deployment import Deployment, hmac_signer, signed_requests
from bench.ground import Ground
from bench.instrumented import Counted
from bench.load import drive

_REQUESTS = 30_000
_COUNTED_REQUESTS = 2_000
_WARM_UP = 2_000
_FUNCTIONS = 25

# The first that fits. A stage is billed for what it calls, wherever that lives.
_STAGES = {
    "server": ("gateway/server/",),
    "admit": ("gateway/stages/admit.py", "gateway/headers.py", "gateway/paths.py", "gateway/sources.py"),
    "limit_source": ("gateway/stages/limit_source.py",),
    "match_route": ("gateway/stages/match_route.py", "gateway/routes.py", "gateway/patterns.py"),
    "admit_once": ("gateway/stages/admit_once.py", "auth/admission/", "policies/gcra.py", "keys/usage.py"),
    "authorize": ("gateway/stages/authorize.py", "policies/"),
    "assert_identity": ("gateway/stages/assert_identity.py", "auth/assertion.py", "auth/identity"),
    "authenticate": ("gateway/stages/authenticate.py", "gateway/bodies.py", "auth/", "keys/"),
    "forward": (
        "gateway/stages/forward.py",
        "gateway/outbound.py",
        "gateway/upstream/",
        "gateway/returned_headers.py",
        "gateway/ratelimit_headers.py",
    ),
    "observe": (
        "gateway/observers.py",
        "gateway/metrics.py",
        "gateway/totals.py",
        "gateway/request_log.py",
        "gateway/trace.py",
    ),
    "edge": ("gateway/",),
    "loop and libraries": ("",),
}


class Profile(msgspec.Struct, frozen=True):
    """Per request; the stages add up to the whole."""

    whole: float
    stages: dict[str, float]
    functions: dict[str, float]


class Watched(Deployment):
    def __init__(
        self,
        folder: Path,
        redis_url: str | None,
        upstream_port: int,
        kind: str,
        database: str | None = None,
    ) -> None:
        super().__init__(folder, redis_url, upstream_port=upstream_port, at_rest=True, database=database)
        self._kind = kind
        self._out = folder / "counted.json"

    def _portreeve(self, *arguments: str) -> list[str]:
        command = super()._portreeve(*arguments)
        if arguments != ("serve",):
            return command
        return [sys.executable, "-m", "bench.instrumented", self._kind, str(self._out), *command[3:]]

    def toggle(self) -> None:
        os.kill(self.gateway.pid, signal.SIGUSR2)

    def read_counted(self) -> list[Counted]:
        deadline = time.monotonic() + 30
        while not self._out.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        counted: list[Counted] = [tuple(entry) for entry in json.loads(self._out.read_text())]
        # What comes next is told anew.
        self._out.unlink()
        return counted


def take(
    ground: Ground, kind: Literal["samples", "bytecodes"], requests: int, *, on_redis: bool = True
) -> Profile:
    with tempfile.TemporaryDirectory(dir=ground.folder) as name:
        folder = Path(name)
        redis_url = ground.redis_url if on_redis else None
        with Watched(folder, redis_url, ground.upstream_port, kind) as watched:
            cpu_us = _drive(watched, requests, folder)
            counted = watched.read_counted()
    total = sum(count for *_, count in counted)
    return _laid_over(cpu_us if kind == "samples" else total / requests, counted)


def _drive(watched: Watched, requests: int, folder: Path) -> float:
    key = watched.create_key("--algorithm", "hmac-sha256")
    sign = hmac_signer(key)
    time.sleep(1)
    drive(watched.port, signed_requests(key, _WARM_UP, sign), folder, expect=200)
    ready = signed_requests(key, requests, sign)
    watched.toggle()
    before = machine.cpu_seconds(watched.gateway.pid)
    # Few enough connections that none waits for the store's answer so long that it is refused.
    drive(watched.port, ready, folder, connections=32 if requests >= _REQUESTS else 8, expect=200)
    used = machine.cpu_seconds(watched.gateway.pid) - before
    watched.toggle()
    return used / requests * 1e6


def _laid_over(whole: float, counted: list[Counted]) -> Profile:
    share = whole / sum(count for *_, count in counted)
    stages: dict[str, float] = defaultdict(float)
    for file, _, count in counted:
        stages[_stage(file)] += count * share
    ordered = sorted(stages.items(), key=lambda row: -row[1])
    functions = {
        f"{file}:{function}": round(count * share, 2) for file, function, count in counted[:_FUNCTIONS]
    }
    return Profile(round(whole, 1), {stage: round(spent, 2) for stage, spent in ordered}, functions)


def _stage(file: str) -> str:
    return next(stage for stage, files in _STAGES.items() if file.startswith(files))


def show(samples: Profile, bytecodes: Profile) -> str:
    rows = [f"{'stage':<20}{'CPU µs':>8}{'share':>8}{'bytecodes':>11}"]
    for stage, spent in samples.stages.items():
        counted = bytecodes.stages.get(stage, 0.0)
        rows.append(f"{stage:<20}{spent:>8.1f}{spent / samples.whole:>8.1%}{counted:>11.0f}")
    rows.append(f"{'one request':<20}{samples.whole:>8.1f}{1:>8.0%}{bytecodes.whole:>11.0f}")
    rows += ["", "CPU µs by function, with what it calls outside of the project"]
    rows += [f"{spent:>8.2f}  {place}" for place, spent in samples.functions.items()]
    rows += ["", "bytecodes by function"]
    rows += [f"{spent:>8.0f}  {place}" for place, spent in bytecodes.functions.items()]
    return "\n".join(rows)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Ground(Path(folder)) as ground:
        samples = take(ground, "samples", _REQUESTS)
        print(show(samples, take(ground, "bytecodes", _COUNTED_REQUESTS)))


if __name__ == "__main__":
    main()
