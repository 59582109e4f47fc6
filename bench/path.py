"""The signed request path: CPU per request, latency, memory, start-up; on the in-process store and on Redis.

Measures Portreeve alone, by CPU of its process tree, so that a change shows. Every answer is checked to be 200.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench import load, machine
from bench.deployment import Deployment, free_port, hmac_signer, signed_requests

_BATCH = 20_000
_CONNECTIONS = 32
Signer = Callable[[bytes], str]


def drive(deployment: Deployment, requests: list[bytes], folder: Path) -> dict[str, Any]:
    file = folder / "requests"
    load.write_requests(file, requests)
    before = machine.cpu_seconds(deployment.gateway.pid)
    generator = [
        sys.executable, "-m", "bench.load", "127.0.0.1", str(deployment.port), str(file), str(_CONNECTIONS)
    ]  # fmt: skip
    printed = subprocess.run(generator, check=True, stdout=subprocess.PIPE, timeout=120).stdout
    result: dict[str, Any] = json.loads(printed)
    used = machine.cpu_seconds(deployment.gateway.pid) - before
    if result["statuses"] != {"200": len(requests)}:
        raise RuntimeError(f"unexpected answers: {result['statuses']}")
    result["cpu_us"] = round(used / len(requests) * 1e6, 1)
    result["rss_mib"] = machine.rss_mib(deployment.gateway.pid)
    return result


@contextmanager
def redis_server() -> Iterator[str | None]:
    binary = shutil.which("redis-server") or shutil.which(
        "redis-server", path=str(Path(sys.executable).parent)
    )
    if binary is None:
        yield None
        return
    port = free_port()
    server = subprocess.Popen(
        [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL,
    )
    try:
        time.sleep(0.5)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(10)


def measure(redis_url: str | None, batches: int) -> dict[str, Any]:
    """Batches of HMAC requests, for what a request costs and whether memory stays flat; then one of Ed25519."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        private = Ed25519PrivateKey.generate()
        with Deployment(folder, redis_url) as deployment:
            idle = machine.rss_mib(deployment.gateway.pid)
            key = deployment.create_key("--algorithm", "hmac-sha256")
            public = private.public_key().public_bytes_raw().hex()
            paired = deployment.create_key("--algorithm", "ed25519", "--public-key", public)
            time.sleep(1)
            rounds = [
                drive(deployment, signed_requests(key, _BATCH, hmac_signer(key)), folder)
                for _ in range(batches)
            ]
            sign: Signer = lambda signed: private.sign(signed).hex()  # noqa: E731  one use, named for its type
            ed25519 = drive(deployment, signed_requests(paired, _BATCH, sign), folder)
            return {
                "start_seconds": deployment.start_seconds,
                "rss_idle_mib": idle,
                "rss_mib": [run["rss_mib"] for run in rounds],
                "hmac": _best(rounds),
                "ed25519": _best([ed25519]),
            }


def _best(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    best = min(rounds, key=lambda run: run["cpu_us"])
    return {name: best[name] for name in ("cpu_us", "rps", "p50_ms", "p99_ms", "p999_ms")}


def compare(batches: int) -> dict[str, Any]:
    results = {"memory": measure(None, batches)}
    with redis_server() as url:
        if url is None:
            print("redis-server is not installed: the shared store is left out")
        else:
            results["redis"] = measure(url, batches)
    return results
