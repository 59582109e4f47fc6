"""Two thousand keep-alive connections that do nothing: what they hold, what they cost, and whether others notice."""

from __future__ import annotations

import http.client
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from bench import machine
from bench.contenders.requests import Signed
from bench.deployment import Deployment
from bench.ground import Ground
from bench.scenarios import measuring

TARGET = (
    "an idle connection holds at most 32 KiB; all of them cost at most 1 % of a core; a request beside them costs "
    "at most 10 % more"
)
_CONNECTIONS = 2_000
_MOST_KIB = 32
_MOST_IDLE_CPU = 0.01
_MOST_RATIO = 1.1
_REQUEST = b"GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
_FIGURES = ("cpu_us", "rps", "p50_ms", "p99_ms")


def run(ground: Ground, *, quick: bool) -> dict[str, Any]:
    rounds, count, idle_s = (1, 5_000, 2.0) if quick else (3, 20_000, 10.0)
    # The gateway inherits it: each idle connection takes a descriptor on either side.
    _allow_files(2 * _CONNECTIONS + 1_000)
    with measuring.deployed(ground, redis_url=measuring.store_url(ground)) as deployment:
        signed, pid = measuring.new_key(deployment), deployment.gateway.pid
        _load(ground, deployment, signed, count)
        alone = _idle_cpu(pid, idle_s)
        before = machine.rss_mib(pid)
        with _idle_connections(deployment.port):
            kib = round((machine.rss_mib(pid) - before) * 1024 / _CONNECTIONS, 1)
            beside = _idle_cpu(pid, idle_s)
        runs: dict[str, list[dict[str, Any]]] = {"without": [], "beside": []}
        for _ in range(rounds):
            runs["without"].append(_load(ground, deployment, signed, count))
            with _idle_connections(deployment.port):
                runs["beside"].append(_load(ground, deployment, signed, count))
    results = {name: measuring.medians(seen, _FIGURES) for name, seen in runs.items()}
    ratios = {
        name: measuring.ratio(results["beside"][name], results["without"][name])
        for name in ("cpu_us", "p99_ms")
    }
    idle_cpu = round(beside - alone, 4)
    return {
        "target": TARGET,
        "met": kib <= _MOST_KIB and idle_cpu <= _MOST_IDLE_CPU and ratios["cpu_us"] <= _MOST_RATIO,
        "connections": _CONNECTIONS,
        "kib_per_connection": kib,
        "idle_cpu_of_core": idle_cpu,
        "requests": results,
        "ratio": ratios,
    }


def _load(ground: Ground, deployment: Deployment, signed: Signed, count: int) -> dict[str, Any]:
    return measuring.drive(deployment.port, deployment.gateway.pid, signed.make(count), ground.folder)


def _idle_cpu(pid: int, seconds: float) -> float:
    """The share of a core that is used while nobody asks for anything."""
    before = machine.cpu_seconds(pid)
    time.sleep(seconds)
    return (machine.cpu_seconds(pid) - before) / seconds


@contextmanager
def _idle_connections(port: int) -> Iterator[None]:
    """Each has been used once, and is used once more at the end: none of them was dropped on the way."""
    with ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            for _ in range(_CONNECTIONS)
        ]
        _use(connections)
        yield
        _use(connections)


def _use(connections: list[socket.socket]) -> None:
    for connection in connections:
        connection.sendall(_REQUEST)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"an idle connection was answered {answer.status}")


def _allow_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in {-1, resource.RLIM_INFINITY} and hard < count:
        raise RuntimeError(f"{_CONNECTIONS} connections take {count} files; the hard limit is {hard}")
    if soft not in {-1, resource.RLIM_INFINITY} and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
