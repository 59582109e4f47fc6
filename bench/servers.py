"""Which ASGI server: the same bare application behind each, by CPU per request.

`python -m bench servers` prints a table. The application answers 240 bytes; what differs is the server alone.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import load, machine

_REQUESTS = 30_000
_ROUNDS = 3
_BODY = b"x" * 240
_REQUEST = b"GET /paper/v1/orders?symbol=BTC-EUR HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: */*\r\n\r\n"


async def bare(scope: dict[str, Any], _receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
    if scope["type"] != "http":
        return
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"240")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _BODY})


def commands(port: int) -> dict[str, list[str]]:
    python = sys.executable
    uvicorn = [python, "-m", "uvicorn", "bench.servers:bare", "--port", str(port), "--log-level", "warning"]
    granian = [
        python,
        "-m",
        "granian",
        "--interface",
        "asginl",
        "--port",
        str(port),
        "--log-level",
        "warning",
    ]
    return {
        "uvicorn": [
            *uvicorn,
            "--no-access-log",
            "--loop",
            "uvloop",
            "--http",
            "httptools",
            "--lifespan",
            "off",
        ],
        "portreeve": [python, "-m", "bench.servers", str(port)],
        "granian": [*granian, "--http", "1", "--runtime-mode", "st", "--no-ws", "bench.servers:bare"],
    }


def serve_strict(port: int) -> None:
    """The same application behind our own protocol, without its application."""
    from gateway.server import listening, run  # noqa: PLC0415  only this process needs it
    from gateway.server.limits import Limits  # noqa: PLC0415  the same

    limits = Limits(
        max_connections=10_000,
        header_timeout_s=10,
        body_timeout_s=30,
        max_header_bytes=32_768,
        max_headers=100,
        max_target_bytes=8_192,
    )
    run.run(
        with_lifespan,
        [listening.take("127.0.0.1", port)[0]],
        limits,
        lambda _code, _detail, _client: (400, [], b""),
        keep_alive_s=75,
        drain_s=0,
        on_drain=lambda: None,
    )


async def with_lifespan(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await bare(scope, receive, send)


def measure(command: list[str], port: int) -> dict[str, float]:
    server = subprocess.Popen(command)
    try:
        _wait_for(port)
        before = machine.cpu_seconds(server.pid)
        with tempfile.TemporaryDirectory() as folder:
            told = load.drive(port, [_REQUEST] * _REQUESTS, Path(folder), expect=200)
        used = machine.cpu_seconds(server.pid) - before
        return {"cpu_us": round(used / _REQUESTS * 1e6, 1), "rps": told["rps"], "p99_ms": told["p99_ms"]}
    finally:
        server.terminate()
        server.wait(10)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError("the server did not start")


def compare() -> dict[str, list[dict[str, float]]]:
    results: dict[str, list[dict[str, float]]] = {}
    for _ in range(_ROUNDS):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        for name, command in commands(port).items():
            results.setdefault(name, []).append(measure(command, port))
    return results


if __name__ == "__main__":
    serve_strict(int(sys.argv[1]))
