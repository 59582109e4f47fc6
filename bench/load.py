"""A load generator small enough not to be the bottleneck: ready-made requests over keep-alive connections.

Runs as a process of its own (`python -m bench.load`), reads its requests from a file, checks every status, and
prints one JSON object. Only loopback addresses are accepted, and every run ends by itself.
"""

from __future__ import annotations

import asyncio
import json
import re
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import uvloop

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def write_requests(path: Path, requests: list[bytes]) -> None:
    with path.open("wb") as out:
        for request in requests:
            out.write(struct.pack(">I", len(request)))
            out.write(request)


def read_requests(path: Path) -> list[bytes]:
    packed, at, requests = path.read_bytes(), 0, []
    while at < len(packed):
        (size,) = struct.unpack_from(">I", packed, at)
        requests.append(packed[at + 4 : at + 4 + size])
        at += 4 + size
    return requests


class Client(asyncio.Protocol):
    """One connection: sends the next request when the last one is answered in full."""

    def __init__(self, requests: Iterator[bytes], done: asyncio.Future[None], tally: Tally) -> None:
        self._requests = requests
        self._done = done
        self._tally = tally
        self._buffer = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP gives this one
        self._transport = transport
        self._next()

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        size = answer_size(self._buffer)
        if size is None:
            return
        status = _STATUS.match(self._buffer)
        self._tally.note(status[1].decode() if status else "?", time.perf_counter() - self._sent_at)
        self._buffer = self._buffer[size:]
        self._next()

    def connection_lost(self, _failure: Exception | None) -> None:
        if not self._done.done():
            self._done.set_result(None)


class Tally:
    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.latencies: list[float] = []

    def note(self, status: str, latency: float) -> None:
        self.statuses[status] += 1
        self.latencies.append(latency)

    def percentile_ms(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 3) if ordered else 0.0


def answer_size(buffer: bytes) -> int | None:
    """How many bytes the answer at the front takes, or None while it is not whole."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    length = _LENGTH.search(buffer, 0, end)
    if length is not None:
        size = end + 4 + int(length[1])
        return size if len(buffer) >= size else None
    last = buffer.find(b"0\r\n\r\n", end + 4)
    return None if last < 0 else last + 5


async def run(host: str, port: int, requests: list[bytes], connections: int) -> dict[str, object]:
    loop, tally, source = asyncio.get_running_loop(), Tally(), iter(requests)
    waits: list[asyncio.Future[None]] = []
    began = time.perf_counter()
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        waits.append(done)
        await loop.create_connection(lambda done=done: Client(source, done, tally), host, port)  # type: ignore[misc]  # mypy cannot infer a default of a lambda
    await asyncio.wait(waits, timeout=300)
    elapsed = time.perf_counter() - began
    return {
        "requests": sum(tally.statuses.values()),
        "statuses": dict(tally.statuses),
        "seconds": round(elapsed, 3),
        "rps": round(sum(tally.statuses.values()) / elapsed),
        "p50_ms": tally.percentile_ms(0.50),
        "p99_ms": tally.percentile_ms(0.99),
        "p999_ms": tally.percentile_ms(0.999),
    }


def main() -> None:
    host, port, path, connections = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    if not ip_address(host).is_loopback:
        sys.exit("only loopback addresses are loaded")
    print(json.dumps(uvloop.run(run(host, port, read_requests(path), connections))))


if __name__ == "__main__":
    main()
