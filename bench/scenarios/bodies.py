"""POSTs of 64 KiB, signed: what they cost and hold, and whether a changed body is noticed.

A JWT says nothing about a body, and a plain proxy checks nothing: the result says so of each, because hashing
64 KiB is most of what is paid for here.
"""

from __future__ import annotations

from typing import Any

from bench import load, machine
from bench.contenders import Running
from bench.ground import Ground
from bench.scenarios import measuring

TARGET = "a changed body is refused, and 32 bodies in flight take less than 32 MiB"
_OURS = "portreeve-hmac-redis"
_NAMES = (_OURS, "nginx-plain", "nginx-lua", "envoy-jwt")
_BODY = b"x" * 65_536
_MOST_GROWTH_MIB = 32
_FIGURES = ("cpu_us", "rps", "p50_ms", "p99_ms")


def run(ground: Ground, *, quick: bool) -> dict[str, Any]:
    rounds, count = (1, 400) if quick else (3, 3_000)
    with measuring.contenders(ground, _NAMES) as (running, missing):
        if _OURS not in running:
            return measuring.not_here(TARGET, missing[_OURS])
        before = {name: _settle(each, ground) for name, each in running.items()}
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in running}
        for _ in range(rounds):
            for name, each in running.items():
                requests = each.requests(count, body=_BODY)
                runs[name].append(measuring.drive(each.port, each.pid, requests, ground.folder))
        results = {
            name: {
                **measuring.medians(runs[name], _FIGURES),
                "growth_mib": round(machine.peak_mib(each.pid) - before[name], 1),
                "peak_mib": machine.peak_mib(each.pid),
                "refuses_changed_body": _refuses_changed_body(each, ground),
            }
            for name, each in running.items()
        }
    ours = results[_OURS]
    met = bool(ours["refuses_changed_body"]) and ours["growth_mib"] < _MOST_GROWTH_MIB
    return {"target": TARGET, "met": met, "body_bytes": len(_BODY), "contenders": results, "missing": missing}


def _settle(running: Running, ground: Ground) -> float:
    """Warmed up without bodies, so that what grows from here on is theirs."""
    measuring.drive(running.port, running.pid, running.requests(2_000), ground.folder)
    measuring.reset_peak(running.pid)
    return float(machine.rss_mib(running.pid))


def _refuses_changed_body(running: Running, ground: Ground) -> bool:
    changed = [with_changed_body(request) for request in running.requests(20, body=_BODY)]
    statuses = load.drive(running.port, changed, ground.folder, expect=None)["statuses"]
    if set(statuses) - {"200", "401"}:
        raise RuntimeError(f"unexpected answers to changed bodies: {statuses}")
    return bool(statuses == {"401": len(changed)})


def with_changed_body(request: bytes) -> bytes:
    return request[:-1] + bytes([request[-1] ^ 1])
