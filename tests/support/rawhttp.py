"""A raw HTTP/1.1 client: it sends exactly the bytes it is given and reads answers strictly.

Invariant: nothing is repaired. An answer that is not framed exactly is `NotHttp`, one that breaks off
is `Truncated`, and silence is `Hang`: three different failures, so that a test says what happened.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

Address = tuple[str, int]

_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2})(?: [\t -~\x80-\xff]*)?\Z")
_FIELD = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)[ \t]*\Z"
)
_LENGTH = re.compile(r"(?:0|[1-9][0-9]{0,15})\Z")
_CHUNK = re.compile(rb"[0-9A-Fa-f]{1,8}\Z")
_HEAD_LIMIT = 65536


class NotHttp(AssertionError):
    """What came back is not one well-framed HTTP/1.1 answer."""


class Truncated(AssertionError):
    """The connection ended before the answer did."""


class Ended(Truncated):
    """The connection ended where an answer would have begun."""


class Hang(AssertionError):
    """Nothing came within the time the test allows."""


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        values = self.all(name)
        if len(values) > 1:
            raise NotHttp(f"{name} stands {len(values)} times in the answer")
        return values[0] if values else None

    @property
    def code(self) -> str | None:
        """The problem's code, or None for an answer that is not a problem."""
        if self.all("content-type") != ["application/problem+json"]:
            return None
        code = self.json().get("code")
        return str(code)

    def json(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    def __str__(self) -> str:
        return f"{self.status} {self.code} {self.body[:200]!r}"


class Connection:
    """One TCP connection; use it as a context so that it closes."""

    def __init__(self, address: Address, *, timeout: float = 30.0, tls: ssl.SSLContext | None = None) -> None:
        self.timeout = timeout
        self._socket = socket.create_connection(address, timeout=timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket, server_hostname=address[0])
        self._buffer = b""
        self.ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def send(self, wire: bytes) -> bool:
        """Whether the other side still took the bytes; an early answer may have closed it."""
        try:
            self._socket.sendall(wire)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def finish_sending(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def has_input(self, within: float) -> bool:
        """Whether something came, or the connection ended, within that time."""
        return bool(self._buffer) or self._fill(within, quiet=True) or self.ended

    def read(self, method: str = "GET") -> Answer:
        """The next final answer; interim 1xx answers are passed over."""
        for _ in range(20):
            answer = self._read_one(method)
            if answer.status >= 200:
                return answer
        raise NotHttp("more than twenty interim answers")

    def ask(self, wire: bytes, method: str = "GET") -> Answer:
        self.send(wire)
        return self.read(method)

    def closes(self, within: float = 5.0) -> bool:
        """Whether the other side closes without sending one byte more."""
        deadline = time.monotonic() + within
        while not self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not self._fill(left, quiet=True):
                return self.ended
        raise NotHttp(f"extra bytes after the answer: {self._buffer[:200]!r}")

    def _read_one(self, method: str) -> Answer:
        head = self._until(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        status = _STATUS.fullmatch(lines[0])
        if status is None:
            raise NotHttp(f"status line {lines[0][:100]!r}")
        headers = tuple(_field(line) for line in lines[1:])
        answer = Answer(int(status[1]), headers, b"")
        return dataclasses.replace(answer, body=self._body(answer, method))

    def _body(self, answer: Answer, method: str) -> bytes:
        bodiless = method == "HEAD" or answer.status in {204, 304} or answer.status < 200
        length, coding = answer.header("content-length"), answer.header("transfer-encoding")
        if length is not None and coding is not None:
            raise NotHttp("Content-Length beside Transfer-Encoding")
        if length is not None and not _LENGTH.fullmatch(length):
            raise NotHttp(f"Content-Length {length!r}")
        if bodiless:
            return b""
        if coding is not None:
            return self._chunked(coding)
        return self._exactly(int(length)) if length is not None else self._rest()

    def _chunked(self, coding: str) -> bytes:
        if coding.lower() != "chunked":
            raise NotHttp(f"Transfer-Encoding {coding!r}")
        whole = b""
        while True:
            size = self._until(b"\r\n")
            if not _CHUNK.fullmatch(size):
                raise NotHttp(f"chunk size {size[:40]!r}")
            count = int(size, 16)
            part = self._exactly(count + 2) if count else self._until(b"\r\n") + b"\r\n"
            if part[count:] != b"\r\n":
                raise NotHttp("a chunk or the trailer part does not end where it says")
            if count == 0:
                return whole
            whole += part[:count]

    def _rest(self) -> bytes:
        while self._fill(self.timeout):
            pass
        whole, self._buffer = self._buffer, b""
        return whole

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not self._fill(self.timeout):
                raise Truncated(f"{len(self._buffer)} of {count} bytes")
        part, self._buffer = self._buffer[:count], self._buffer[count:]
        return part

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            if len(self._buffer) > _HEAD_LIMIT:
                raise NotHttp("a head without an end")
            if not self._fill(self.timeout):
                raise (Truncated if self._buffer else Ended)(f"ended within {self._buffer[:100]!r}")
        part, _, self._buffer = self._buffer.partition(mark)
        return part

    def _fill(self, seconds: float, *, quiet: bool = False) -> bool:
        """Take what has come. False at the end, and at silence when that is asked for quietly."""
        if self.ended:
            return False
        self._socket.settimeout(seconds)
        try:
            came = self._socket.recv(65536)
        except TimeoutError:
            if quiet:
                return False
            raise Hang(f"nothing within {seconds} s after {self._buffer[:100]!r}") from None
        except ConnectionResetError:
            came = b""
        self.ended = not came
        self._buffer += came
        return bool(came)


def _field(line: bytes) -> tuple[str, str]:
    field = _FIELD.fullmatch(line)
    if field is None:
        raise NotHttp(f"header line {line[:100]!r}")
    return field[1].decode("latin-1"), field[2].decode("latin-1")


def ask(
    address: Address,
    wire: bytes,
    *,
    method: str = "GET",
    timeout: float = 30.0,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """One request on its own connection, one answer."""
    with Connection(address, timeout=timeout, tls=tls) as connection:
        return connection.ask(wire, method)


def ask_all(address: Address, wire: bytes, *, timeout: float = 30.0, quiet: float = 0.5) -> list[Answer]:
    """Every answer to these bytes, until the connection ends or nothing more comes for `quiet` seconds."""
    answers: list[Answer] = []
    with Connection(address, timeout=timeout) as connection:
        connection.send(wire)
        while True:
            connection.timeout = quiet if answers else timeout
            try:
                answers.append(connection.read())
            except (Hang, Truncated):
                if not answers and not connection.ended:
                    raise
                return answers
