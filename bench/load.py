"""A load generator small enough not to be the bottleneck: ready-made requests over keep-alive connections.

    python -m bench.load HOST PORT FILE CONNECTIONS [--rate R] [--expect STATUS|any] [--timeout SECONDS]

Closed loop: each connection sends its next request when the last one is answered. Open loop (`--rate`): requests
are due at fixed times whatever the answers do, and latency counts from when a request was due, so that a pause of
the server is seen by everyone who would have waited. Prints one JSON object; ends with 1 when a status is not the
expected one. Refuses any address but loopback, and ends by itself.

Bare epoll, because an event loop's timers would be a millisecond coarse and its callbacks would cost more than
the rest of this. Other modules call `drive`, which runs it as a process of its own.
"""

from __future__ import annotations

import argparse
import gc
import json
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from bench.answers import Answer

_RECEIVED_AT_ONCE = 65_536
_LONGEST_WAIT_S = 0.2
_SIZE = struct.Struct(">I")
_SHARES = {"p50_ms": 0.50, "p99_ms": 0.99, "p999_ms": 0.999}


class UnexpectedAnswers(Exception):
    """Not every answer had the expected status; `statuses` has them all."""

    def __init__(self, statuses: dict[str, int], expected: int) -> None:
        super().__init__(f"expected {expected} only, got {statuses}")
        self.statuses = statuses


def drive(  # noqa: PLR0913  what one load is made of
    port: int,
    requests: Iterable[bytes],
    folder: Path,
    *,
    connections: int = 32,
    rate: float | None = None,
    timeout_s: float = 120,
    expect: int | None = None,
) -> dict[str, Any]:
    """Sends each request once, from another process. Without `expect` the caller judges the counted statuses."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix="requests-") as file:
        write_requests(Path(file.name), requests)
        command = [sys.executable, "-m", "bench.load", "127.0.0.1", str(port), file.name, str(connections)]
        command += [] if rate is None else ["--rate", str(rate)]
        command += ["--timeout", str(timeout_s), "--expect", "any"]
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=timeout_s + 30).stdout
    result: dict[str, Any] = json.loads(printed)
    if expect is not None and result["statuses"].keys() != {str(expect)}:
        raise UnexpectedAnswers(result["statuses"], expect)
    return result


def write_requests(path: Path, requests: Iterable[bytes]) -> None:
    with path.open("wb") as out:
        for request in requests:
            out.write(_SIZE.pack(len(request)))
            out.write(request)


def read_requests(path: Path) -> list[bytes]:
    packed, at, requests = path.read_bytes(), 0, []
    while at < len(packed):
        (size,) = _SIZE.unpack_from(packed, at)
        requests.append(packed[at + _SIZE.size : at + _SIZE.size + size])
        at += _SIZE.size + size
    return requests


def percentile_ms(ordered: list[float], share: float) -> float:
    """Of seconds in ascending order: the least that `share` of them do not exceed."""
    return round(ordered[max(0, -int(-len(ordered) * share // 1) - 1)] * 1000, 3) if ordered else 0.0


class Connection:
    """A socket, what it still has to send, and the answer it waits for."""

    __slots__ = ("answer", "counted_from", "socket", "unsent")

    def __init__(self) -> None:
        self.answer = Answer()
        self.counted_from = 0.0
        self.unsent = b""
        self.socket: socket.socket


class Load:
    """One run. `go` returns when every request has its answer, or at the deadline."""

    def __init__(self, address: tuple[str, int], requests: list[bytes], connections: int) -> None:
        self._address = address
        self._requests = iter(requests)
        self._count = len(requests)
        self._answered = 0
        self._open: dict[int, Connection] = {}
        self._idle: deque[Connection] = deque()
        self._ready = select.epoll()
        self.connects = 0
        self.latencies: list[float] = []
        self.schedule_errors: list[float] = []
        self.statuses: Counter[bytes] = Counter()
        for _ in range(connections):
            self._idle.append(self._connect(Connection()))

    def go(self, rate: float | None, timeout_s: float) -> None:
        deadline = time.perf_counter() + timeout_s
        self._go_at(rate, deadline) if rate else self._go_on_answers(deadline)
        missing = self._count - self._answered
        if missing:
            self.statuses[b"unanswered"] += missing

    def close(self) -> None:
        for connection in self._open.values():
            connection.socket.close()
        self._ready.close()

    @property
    def body_bytes(self) -> int:
        return sum(connection.answer.body_bytes for connection in self._open.values())

    def _go_on_answers(self, deadline: float) -> None:
        clock = time.perf_counter
        while self._answered < self._count and clock() < deadline:
            while self._idle:
                connection = self._idle.popleft()
                request = next(self._requests, None)
                if request is None:
                    break
                connection.counted_from = clock()
                self._send(connection, request)
            self._take_answers(_LONGEST_WAIT_S)

    def _go_at(self, rate: float, deadline: float) -> None:
        clock, due = time.perf_counter, deque[float]()
        _wake_precisely()
        began, scheduled = clock() + 0.005, 0
        while self._answered < self._count and clock() < deadline:
            now, next_due = clock(), began + scheduled / rate
            while next_due <= now and scheduled < self._count:
                due.append(next_due)
                self.schedule_errors.append(now - next_due)
                scheduled += 1
                next_due = began + scheduled / rate
            while due and self._idle:
                connection = self._idle.popleft()
                connection.counted_from = due.popleft()
                self._send(connection, next(self._requests))
            pause = next_due - clock() if scheduled < self._count else _LONGEST_WAIT_S
            # epoll waits whole milliseconds; select, given the epoll, waits to the microsecond.
            if pause > 0:
                select.select([self._ready], [], [], min(pause, _LONGEST_WAIT_S))
            self._take_answers(0)

    def _take_answers(self, wait_s: float) -> None:
        for number, event in self._ready.poll(wait_s):
            connection = self._open[number]
            if event & select.EPOLLOUT:
                self._send(connection, connection.unsent)
            if event & ~select.EPOLLOUT:
                self._receive(connection)

    def _send(self, connection: Connection, request: bytes) -> None:
        try:
            sent = connection.socket.send(request)
        except BlockingIOError:
            sent = 0
        except OSError:
            # The other side has hung up; what it said last, if anything, is read when it is seen.
            sent = len(request)
        if sent < len(request):
            if not connection.unsent:
                self._ready.modify(connection.socket, select.EPOLLIN | select.EPOLLOUT)
            connection.unsent = request[sent:]
        elif connection.unsent:
            connection.unsent = b""
            self._ready.modify(connection.socket, select.EPOLLIN)

    def _receive(self, connection: Connection) -> None:
        try:
            arrived = connection.socket.recv(_RECEIVED_AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            arrived = b""
        answer = connection.answer
        if not connection.counted_from:
            # Closed while idle, as servers may; anything else said unasked ends it as well.
            self._reconnect(connection)
        elif not arrived:
            self._note(connection, answer.status if answer.end() else b"closed")
        elif answer.feed(arrived):
            self._note(connection, answer.status)

    def _note(self, connection: Connection, status: bytes) -> None:
        self.latencies.append(time.perf_counter() - connection.counted_from)
        self.statuses[status] += 1
        self._answered += 1
        connection.counted_from = 0.0
        if connection.answer.closes:
            self._reconnect(connection)
        connection.answer.begin()
        self._idle.append(connection)

    def _reconnect(self, connection: Connection) -> None:
        del self._open[connection.socket.fileno()]
        connection.socket.close()
        self._connect(connection)

    def _connect(self, connection: Connection) -> Connection:
        connection.socket = socket.create_connection(self._address, timeout=10)
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.socket.settimeout(0)
        connection.unsent = b""
        self._ready.register(connection.socket, select.EPOLLIN)
        self._open[connection.socket.fileno()] = connection
        self.connects += 1
        return connection


def _wake_precisely() -> None:
    """Linux lets a sleeper wake 50 µs late to save energy; where it can't be told otherwise, that stays."""
    try:
        Path("/proc/self/timerslack_ns").write_text("1")
    except OSError:
        return


def run(
    address: tuple[str, int],
    requests: list[bytes],
    connections: int,
    rate: float | None = None,
    timeout_s: float = 120,
) -> dict[str, Any]:
    load = Load(address, requests, min(connections, len(requests)))
    # A collection in the middle would be counted as the server's latency.
    gc.disable()
    cpu, began = time.process_time(), time.perf_counter()
    load.go(rate, timeout_s)
    elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu
    load.close()
    return _report(load, elapsed, cpu) | ({} if rate is None else _schedule(load, rate))


def _report(load: Load, elapsed: float, cpu: float) -> dict[str, Any]:
    count, ordered = len(load.latencies), sorted(load.latencies)
    return {
        "requests": count,
        "statuses": {status.decode(): seen for status, seen in load.statuses.items()},
        "seconds": round(elapsed, 3),
        "rps": round(count / elapsed, 1),
        **{name: percentile_ms(ordered, share) for name, share in _SHARES.items()},
        "max_ms": percentile_ms(ordered, 1),
        "generator_cpu_us": round(cpu / max(count, 1) * 1e6, 1),
        "body_bytes": load.body_bytes,
        "connects": load.connects,
    }


def _schedule(load: Load, rate: float) -> dict[str, Any]:
    errors = sorted(load.schedule_errors)
    shares = {name: percentile_ms(errors, share) for name, share in _SHARES.items()}
    return {"rate": rate, "schedule_error": {**shares, "max_ms": percentile_ms(errors, 1)}}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.load")
    parser.add_argument("host", type=ip_address)
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path)
    parser.add_argument("connections", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--expect", default="200", help="a status, or any")
    parser.add_argument("--timeout", type=float, default=120)
    given = parser.parse_args()
    if not given.host.is_loopback:
        parser.error("only loopback addresses are loaded")
    address = (str(given.host), given.port)
    result = run(address, read_requests(given.file), given.connections, given.rate, given.timeout)
    print(json.dumps(result))
    if given.expect != "any" and result["statuses"].keys() != {given.expect}:
        sys.exit(1)


if __name__ == "__main__":
    main()
