"""What an access token costs: client credentials with `private_key_jwt` (ES256), on Redis and PostgreSQL, in CPU of the
node per token. Assertions and proofs are signed ahead.

`bearer` is the grant with the least to check, and what other servers publish figures for: one assertion. `dpop` is what
clients get by default: an assertion, a proof, a bound token. Where the CPU goes is told by function, of a node of its
own that samples itself.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

from bench import databases, machine
from bench.ground import Ground
from bench.oauth import Kind, OAuthClient
from bench.profile import Watched
from bench.scenarios import measuring

TARGET: Final = "500 tokens per second and core with one assertion: at most 2,000 µs of CPU each"
_MOST_US: Final = 2_000.0
_KINDS: Final[tuple[Kind, ...]] = ("bearer", "dpop")
_FIGURES: Final = ("cpu_us", "store_cpu_us", "rps", "p50_ms", "p99_ms")
_FUNCTIONS: Final = 14
# Assertions live for a minute: a batch has to be over by then.
_CONNECTIONS: Final = 16


def run(ground: Ground, *, quick: bool) -> dict[str, Any]:
    rounds, count = (1, 2_000) if quick else (3, 8_000)
    url = measuring.store_url(ground)
    if url is None:
        return measuring.not_here(TARGET, "redis-server")
    with databases.started() as database:
        with measuring.deployed(ground, redis_url=url, database=database("tokens")) as deployment:
            clients = {kind: OAuthClient(deployment, kind) for kind in _KINDS}
            runs: dict[str, list[dict[str, Any]]] = {kind: [] for kind in _KINDS}
            for client in clients.values():
                _load(ground, deployment.port, deployment.gateway.pid, client, count // 4)
            for _ in range(rounds):
                for kind, client in clients.items():
                    runs[kind].append(_load(ground, deployment.port, deployment.gateway.pid, client, count))
        spent = {kind: _profile(ground, url, database(f"profile_{kind}"), kind, count) for kind in _KINDS}
    results = {kind: measuring.medians(seen, _FIGURES) for kind, seen in runs.items()}
    return {"target": TARGET, **verdict(results), "tokens": results, "functions": spent}


def verdict(results: dict[str, dict[str, float]]) -> dict[str, Any]:
    per_core = {kind: round(1e6 / of["cpu_us"]) for kind, of in results.items()}
    return {"met": results["bearer"]["cpu_us"] <= _MOST_US, "per_second_and_core": per_core}


def _load(ground: Ground, port: int, pid: int, client: OAuthClient, count: int) -> dict[str, Any]:
    requests, store = client.token_requests(count), ground.redis_pid
    before = 0.0 if store is None else machine.cpu_seconds(store)
    seen = measuring.drive(port, pid, requests, ground.folder, connections=_CONNECTIONS)
    used = 0.0 if store is None else machine.cpu_seconds(store) - before
    return {**seen, "store_cpu_us": round(used / count * 1e6, 1)}


def _profile(ground: Ground, redis_url: str, database: str, kind: Kind, count: int) -> dict[str, float]:
    """CPU µs per token by function of ours, with what it calls outside of the project."""
    with tempfile.TemporaryDirectory(dir=ground.folder) as name:
        watched = Watched(Path(name), redis_url, ground.upstream_port, "samples", database)
        with watched:
            client = OAuthClient(watched, kind)
            _load(ground, watched.port, watched.gateway.pid, client, count // 4)
            requests = client.token_requests(count)
            watched.toggle()
            seen = measuring.drive(
                watched.port, watched.gateway.pid, requests, ground.folder, connections=_CONNECTIONS
            )
            watched.toggle()
            counted = watched.read_counted()
    share = seen["cpu_us"] / sum(number for *_, number in counted)
    return {
        f"{file} {function}".strip(): round(number * share, 1)
        for file, function, number in counted[:_FUNCTIONS]
    }
