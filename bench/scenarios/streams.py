"""Answers of 1 MiB, chunked and of a stated length, beside nginx; and whether memory follows the size of bodies."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench import machine
from bench.configuration import FILE_TARGET, STREAM_TARGET, UPLOAD_TARGET
from bench.deployment import free_port
from bench.ground import Ground, wait_until_listening
from bench.scenarios import measuring, transfers
from bench.scenarios.large_answers import MIB

TARGET = "half of nginx' MiB per CPU second, and memory that does not follow the size of a body"
_OURS, _FLOOR = "portreeve-hmac-redis", "nginx-plain"
_KINDS = {"chunked": STREAM_TARGET, "length": FILE_TARGET}
_LEAST_RATIO = 0.5
_AT_ONCE = 16
_PAUSE_S = 1.5
# What an allocator keeps for itself differs that much from run to run.
_SLACK_MIB = 16


def run(ground: Ground, *, quick: bool) -> dict[str, Any]:
    throughput, missing = _compare(ground, quick=quick)
    memory = _measure_memory(ground, large_mib=16 if quick else 64)
    ratios = {kind: measuring.ratio(of[_OURS], of[_FLOOR]) for kind, of in throughput.items() if len(of) > 1}
    met = len(ratios) == len(_KINDS) and min(ratios.values()) >= _LEAST_RATIO and memory["bounded"]
    return {
        "target": TARGET,
        "met": met,
        "mib_per_cpu_s": throughput,
        "ratio": ratios,
        "memory": memory,
        "missing": missing,
    }


def _compare(ground: Ground, *, quick: bool) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    rounds, count = (1, 400) if quick else (3, 1_500)
    with measuring.contenders(ground, (_OURS, _FLOOR)) as (running, missing):
        runs: dict[str, dict[str, list[dict[str, Any]]]] = {
            kind: {name: [] for name in running} for kind in _KINDS
        }
        for _ in range(rounds):
            for kind, target in _KINDS.items():
                for name, each in running.items():
                    requests = each.requests(count, target=target)
                    runs[kind][name].append(measuring.drive(each.port, each.pid, requests, ground.folder))
    throughput = {
        kind: {
            name: round(1e6 / measuring.medians(seen, ["cpu_us"])["cpu_us"], 1) for name, seen in of.items()
        }
        for kind, of in runs.items()
    }
    return throughput, missing


def _measure_memory(ground: Ground, large_mib: int) -> dict[str, Any]:
    """By how much the peak is above the idle gateway while many bodies pass through: small ones, then large ones."""
    with _large_answers(ground) as port, _in_front_of(ground, port) as passing:
        passing.warm_up()
        grown: dict[str, dict[str, float]] = {
            name: {f"{mib}_mib": passing.grow(pass_through, mib) for mib in (1, large_mib)}
            for name, pass_through in passing.ways().items()
        }
        grown["slow_readers"] = {f"{large_mib}_mib": passing.grow(passing.read_slowly, large_mib)}
        idle = passing.idle_mib
    bound = max(way["1_mib"] for way in grown.values() if "1_mib" in way) + _SLACK_MIB
    bounded = all(way[f"{large_mib}_mib"] <= bound for way in grown.values())
    return {
        "idle_mib": idle,
        "at_once": _AT_ONCE,
        "growth_mib": grown,
        "bound_mib": round(bound, 1),
        "bounded": bounded,
    }


class _Passing:
    """Bodies on their way through one gateway, in either direction."""

    def __init__(self, port: int, pid: int, sign: Callable[[str], list[bytes]]) -> None:
        self._port = port
        self._pid = pid
        self._sign = sign
        self.idle_mib = 0.0

    def warm_up(self) -> None:
        for pass_through in self.ways().values():
            pass_through(1)
        self.idle_mib = machine.rss_mib(self._pid)

    def ways(self) -> dict[str, Callable[[int], None]]:
        return {
            "answers_chunked": lambda mib: self._read(STREAM_TARGET, mib),
            "answers_length": lambda mib: self._read(FILE_TARGET, mib),
            "bodies_chunked": lambda mib: self._send(mib, chunked=True),
            "bodies_length": lambda mib: self._send(mib, chunked=False),
        }

    def read_slowly(self, mib: int) -> None:
        self._read(STREAM_TARGET, mib, _PAUSE_S)

    def grow(self, pass_through: Callable[[int], None], mib: int) -> float:
        measuring.reset_peak(self._pid)
        pass_through(mib)
        return round(machine.peak_mib(self._pid) - self.idle_mib, 1)

    def _read(self, target: str, mib: int, pause_s: float = 0.0) -> None:
        transfers.read_all(self._port, self._sign(f"{target}?mib={mib}"), mib * MIB, pause_s)

    def _send(self, mib: int, *, chunked: bool) -> None:
        heads = [transfers.upload_head(UPLOAD_TARGET, mib * MIB, chunked=chunked)] * _AT_ONCE
        transfers.send_all(self._port, heads, mib * MIB, chunked=chunked)


@contextmanager
def _in_front_of(ground: Ground, upstream_port: int) -> Iterator[_Passing]:
    url = measuring.store_url(ground)
    with measuring.deployed(ground, redis_url=url, upstream_port=upstream_port) as deployment:
        signed = measuring.new_key(deployment)
        yield _Passing(deployment.port, deployment.gateway.pid, lambda target: signed.make(_AT_ONCE, target))


@contextmanager
def _large_answers(ground: Ground) -> Iterator[int]:
    port, log = free_port(), ground.folder / "large-answers.log"
    with log.open("wb") as out:
        command = [sys.executable, "-m", "bench.scenarios.large_answers", str(port)]
        upstream = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_until_listening(port, upstream, log)
        yield port
    finally:
        upstream.terminate()
        upstream.wait(15)
