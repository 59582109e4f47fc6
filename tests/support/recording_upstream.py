"""A raw upstream that keeps every byte it received, so that smuggling is visible.

Invariant: it reads requests by the strictest framing there is. Whole ones stand in `requests`, what cannot be
read that way in `garbage`, and every byte in `received`. A script decides what it answers, well-formed or not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import re
import select
import socket
import struct
import termios
import threading
from collections.abc import Callable, Iterator

_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) ([!-~]+) HTTP/1\.1\Z")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\t -~\x80-\xff]*)\Z")
_CHUNK = re.compile(rb"[0-9A-Fa-f]{1,8}\Z")


class Garbage(Exception):
    """Bytes that are no strictly framed request."""


class BrokenOff(Garbage):
    """The other side ended within a body: seen not to be whole, so it is no request and no harm."""


@dataclasses.dataclass(frozen=True)
class Recorded:
    connection: int
    method: str
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes = b""

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def names(self) -> list[bytes]:
        return [name.lower() for name, _ in self.headers]


class Exchange:
    """One request as a script sees it: its head has been read, its body only when asked for."""

    def __init__(self, wire: _Wire, head: Recorded, record: Callable[[Recorded], None]) -> None:
        self._wire = wire
        self._record = record
        self._noted = False
        self.request = head

    def read_body(self) -> Recorded:
        self.request = dataclasses.replace(self.request, body=self._wire.body(self.request))
        self.note()
        return self.request

    def note(self) -> None:
        """Keep the request, once: before the answer goes out, so that a test never looks too early."""
        if not self._noted:
            self._noted = True
            self._record(self.request)

    def send(self, raw: bytes) -> None:
        self._wire.socket.sendall(raw)

    def deliver(self, raw: bytes) -> None:
        """Send it, and wait until it lies in the other side's socket, read or not; or until that one has ended."""
        self.send(raw)
        ended = select.poll()
        ended.register(self._wire.socket, 0)
        while _unacknowledged(self._wire.socket) and not ended.poll(1):
            pass

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._wire.socket.shutdown(socket.SHUT_RDWR)


Script = Callable[[Exchange], None]


def echo(exchange: Exchange) -> None:
    """Answer 200 with what was received, as JSON."""
    request = exchange.read_body()
    shown = {
        "method": request.method,
        "target": request.target.decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.headers],
        "body_hex": request.body.hex(),
    }
    body = b"" if request.method == "HEAD" else json.dumps(shown).encode()
    exchange.send(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )


def answering(raw: bytes, *, close: bool = False) -> Script:
    """A script that reads the whole request, sends exactly these bytes, and closes if asked to."""

    def script(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.send(raw)
        if close:
            exchange.close()

    return script


def _unacknowledged(connection: socket.socket) -> int:
    (count,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))
    return int(count)


class _Wire:
    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.received = bytearray()
        self._buffer = b""

    def head(self, number: int) -> Recorded | None:
        """The next request's head; None when the other side ended between requests."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._fill():
                if self._buffer:
                    raise Garbage(self._buffer)
                return None
        raw, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        lines = raw.split(b"\r\n")
        first = _REQUEST_LINE.fullmatch(lines[0])
        fields = [_FIELD.fullmatch(line) for line in lines[1:]]
        if first is None or any(field is None for field in fields):
            raise Garbage(raw)
        headers = tuple((field[1], field[2]) for field in fields if field is not None)
        return Recorded(number, first[1].decode(), first[2], headers)

    def body(self, head: Recorded) -> bytes:
        lengths, codings = head.all(b"content-length"), head.all(b"transfer-encoding")
        if len(lengths) + len(codings) > 1:
            raise Garbage(b"framed twice: %r %r" % (lengths, codings))
        if codings:
            return self._chunked(codings[0])
        return self._exactly(int(lengths[0])) if lengths else b""

    def _chunked(self, coding: bytes) -> bytes:
        if coding != b"chunked":
            raise Garbage(b"coding " + coding)
        whole = b""
        while True:
            size = self._line()
            if not _CHUNK.fullmatch(size):
                raise Garbage(b"chunk size " + size)
            part = self._exactly(int(size, 16))
            if self._line() != b"":
                raise Garbage(b"a chunk or trailer that does not end where it says")
            if not part:
                return whole
            whole += part

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            if not self._fill():
                raise BrokenOff(self._buffer)
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not self._fill():
                raise BrokenOff(self._buffer)
        part, self._buffer = self._buffer[:count], self._buffer[count:]
        return part

    def _fill(self) -> bool:
        try:
            came = self.socket.recv(65536)
        except OSError:
            came = b""
        self.received += came
        self._buffer += came
        return bool(came)


class RecordingUpstream:
    """Listens on a free loopback port, one thread a connection; `stop()` ends them all."""

    def __init__(self, script: Script = echo) -> None:
        self.script: Script = script
        self.requests: list[Recorded] = []
        self.garbage: list[bytes] = []
        self._wires: list[_Wire] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def received(self) -> bytes:
        """Every byte of every connection."""
        return b"".join(bytes(wire.received) for wire in list(self._wires))

    @property
    def connections(self) -> int:
        return len(self._wires)

    def clear(self) -> None:
        """Forget what came so far and answer as an echo again; connections stay open."""
        self.script = echo
        self.requests.clear()
        self.garbage.clear()
        for wire in self._wires:
            wire.received.clear()

    @contextlib.contextmanager
    def scripted(self, script: Script) -> Iterator[None]:
        self.script = script
        try:
            yield
        finally:
            self.script = echo

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(5)
        for wire in self._wires:
            with contextlib.suppress(OSError):
                wire.socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for wire in self._wires:
            wire.socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire = _Wire(connection)
            self._wires.append(wire)
            thread = threading.Thread(target=self._serve, args=(wire, len(self._wires)), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, wire: _Wire, number: int) -> None:
        # A broken peer is part of the game here: it ends this connection and nothing else.
        with contextlib.suppress(OSError):
            try:
                while (head := wire.head(number)) is not None:
                    exchange = Exchange(wire, head, self.requests.append)
                    self.script(exchange)
                    exchange.note()
            except BrokenOff:
                pass
            except Garbage as refused:
                self.garbage.append(bytes(refused.args[0]))
            with contextlib.suppress(OSError):
                wire.socket.shutdown(socket.SHUT_RDWR)
