"""An upstream that does what its script says, well-formed or not, on real sockets of the test's own loop.

Invariant: when the context ends, every socket and task of it is gone, and what a script raised that was not
the other side hanging up is raised there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

from msgspec import Struct

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Asked(Struct, frozen=True):
    """One request as it stood on the wire."""

    line: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def find(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


class Wire:
    """One accepted connection. `number` counts from 1 in the order of accepting."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer
        self.asked: list[Asked] = []
        self.hung_up = asyncio.Event()

    async def read_request(self) -> Asked:
        """The next request, its body read as its framing says; `IncompleteReadError` when none comes."""
        line, headers = await self.read_head()
        asked = Asked(line, headers, b"")
        length, coding = asked.find(b"content-length"), asked.find(b"transfer-encoding")
        if coding is not None:
            asked = Asked(line, headers, await self._read_chunks())
        elif length is not None:
            asked = Asked(line, headers, await self.reader.readexactly(int(length)))
        self.asked.append(asked)
        return asked

    async def read_head(self) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        head = await self.reader.readuntil(b"\r\n\r\n")
        line, *fields = head[:-4].split(b"\r\n")
        pairs = (field.split(b": ", 1) for field in fields)
        return line, [(name, value) for name, value in pairs]

    async def send(self, *parts: bytes) -> None:
        """Each part leaves by itself."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    def send_now(self, part: bytes) -> None:
        """Straight into the socket, with no turn of the loop."""
        os.write(self.writer.get_extra_info("socket").fileno(), part)

    def shrink_buffers(self) -> None:
        """So that little is on the way when nobody reads."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)

    def close_now(self) -> None:
        """FIN, with no turn of the loop."""
        sock = socket.socket(fileno=os.dup(self.writer.get_extra_info("socket").fileno()))
        with sock:
            sock.shutdown(socket.SHUT_WR)

    async def answer(self, *parts: bytes) -> Asked:
        asked = await self.read_request()
        whole = OK[:-2] if asked.line.startswith(b"HEAD ") else OK
        await self.send(*(parts or (whole,)))
        return asked

    async def wait_hung_up(self) -> bytes:
        """Until the gateway closes: what it sent meanwhile."""
        received = b""
        with contextlib.suppress(ConnectionError):
            received = await self.reader.read()
        self.hung_up.set()
        return received

    def reset(self) -> None:
        """RST instead of FIN."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def _read_chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)
        return body


Script = Callable[[Wire], Awaitable[object]]


class HostileUpstream:
    def __init__(self, script: Script) -> None:
        self.port = 0
        self.wires: list[Wire] = []
        self.failures: list[BaseException] = []
        self._script = script
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def asked(self) -> list[Asked]:
        return [asked for wire in self.wires for asked in wire.asked]

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(len(self.wires) + 1, reader, writer)
        self.wires.append(wire)
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        try:
            await self._script(wire)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except Exception as error:  # noqa: BLE001  kept, and raised where the test can see it
            self.failures.append(error)
        finally:
            wire.writer.close()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for wire in self.wires:
            wire.writer.transport.abort()
            with contextlib.suppress(OSError):
                await wire.writer.wait_closed()


@contextlib.asynccontextmanager
async def hostile_upstream(
    script: Script, tls: ssl.SSLContext | None = None
) -> AsyncIterator[HostileUpstream]:
    upstream = HostileUpstream(script)
    server = await asyncio.start_server(upstream.accept, "127.0.0.1", 0, ssl=tls)
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()
        await upstream.stop()
        await server.wait_closed()
    if upstream.failures:
        raise upstream.failures[0]


async def serve_ok(wire: Wire) -> None:
    """A well-behaved upstream, for as long as anyone asks."""
    while True:
        await wire.answer()
