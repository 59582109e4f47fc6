"""One request and its answer on one connection.

Invariant: an answer is written whole or its connection is closed under it; an answer that starts before its
request has been read to the end is the last of its connection.

The edge takes an exchange as it is. Litestar gets it as ASGI: `scope`, `receive` and `send`, made when asked for,
because most requests never go there.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, cast

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from gateway.server.joining import join
from gateway.trace import Trace
from gateway.waits import own_task

if TYPE_CHECKING:
    from gateway.server.protocol import StrictProtocol  # noqa: TC004  a circle: each is made with the other

Header = tuple[bytes, bytes]
Serve = Callable[["Exchange"], Coroutine[Any, Any, None]]

_LINE_OF = b"%b: %b\r\n".__mod__
_WITHOUT_BODY = frozenset({204, 304})
_FAREWELL = b"connection: close\r\n"
_UNTOLD = -1  # of a length


def written(headers: Iterable[Header]) -> bytes:
    """Headers as they stand in a head: a line each."""
    return b"".join(map(_LINE_OF, headers))


class ClientGone(OSError):
    """The client went away, or stopped reading, before its answer was whole."""


class Exchange(msgspec.Struct, eq=False):
    protocol: StrictProtocol
    # Of the connection: where it comes from, and how.
    peer: str
    scheme: str
    method: str
    # As it was sent: a bare `?`, a fragment and an absolute form are only visible here.
    target: bytes
    # In any case, in the order of the values.
    names: tuple[bytes, ...]
    values: list[bytes]
    keep_alive: bool
    # What is still on its way is no part of it yet.
    body: bytes | bytearray = b""
    more_body: bool = False
    http_version: str = "1.1"
    oversized: str | None = None
    # What the edge knows of it, once it came there. The id is told in every answer.
    request_id: str = ""
    at_ms: int = 0
    trace: Trace = cast("Trace", None)
    broken: bool = False
    disconnected: bool = False
    response_started: bool = False
    response_complete: bool = False
    # Whether somebody was told that the client went away.
    client_gone: bool = False
    # What of an answer has been handed to the connection: its status, and the bytes of its body.
    status: int = 0
    sent_bytes: int = 0
    # Made when somebody waits: most requests are whole before they are asked for more.
    _arrived: asyncio.Event | None = None
    _asked: bool = False
    _was_given: bool = False
    _bodiless: bool = False
    # Of a body with a declared length, what is still to come; None for one in chunks.
    _left: int | None = 0

    def abort(self) -> None:
        """Ends the connection in the middle of the answer: the client must see that it is not whole."""
        if not self.disconnected:
            self.protocol.end()

    # The request's body -----------------------------------------------------------------------------------

    @property
    def message_event(self) -> asyncio.Event:
        """What uvicorn sets when the connection is lost."""
        if self._arrived is None:
            self._arrived = asyncio.Event()
        return self._arrived

    def wake(self) -> None:
        """Something has come, or will not come: whoever waits in `receive` looks again."""
        if self._arrived is not None:
            self._arrived.set()

    async def receive(self) -> dict[str, Any]:
        protocol = self.protocol
        if not self._asked:
            self._asked = True
            self._invite_body()
        if self.more_body and not self.body and not self._is_over():
            protocol.flow.resume_reading()
            await self._news()
        while self._was_given and not self._is_over():
            # All of the request has been told. Whoever asks on waits for the end of it.
            await self._news()
        if self._is_over():
            return {"type": "http.disconnect", "broken": self.broken}
        body, self.body = bytes(self.body), b""
        self._was_given = not self.more_body
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def _news(self) -> None:
        self.message_event.clear()
        await self.message_event.wait()

    def _invite_body(self) -> None:
        """Whoever waits to be told to go on is told now, since somebody asks for the body."""
        expects = any(
            name.lower() == b"expect" and value.lower() == b"100-continue"
            for name, value in zip(self.names, self.values, strict=True)
        )
        if expects and not self.response_started and not self.protocol.transport.is_closing():
            self.protocol.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _is_over(self) -> bool:
        return self.disconnected or self.response_complete or self.broken

    # The answer -------------------------------------------------------------------------------------------

    def answer(  # noqa: PLR0913, PLR0917  what an answer is made of
        self,
        status: int,
        lines: bytes,
        body: bytes,
        length: int | None,
        last: bool,
        dated: bool | None,
    ) -> bool:
        """A whole answer leaves in one write. Whether it did: the client may not be ready for it. `length`: what is
        declared where it is not that of the body. `dated`: whether the lines tell a date, where that is known.

        Names in `lines` are in lower case, and none of them frames the body or speaks of the connection.
        """
        if not self.protocol.takes_more:
            return False
        size = len(body)
        if status not in _WITHOUT_BODY and self.method != "HEAD":
            self._write(status, lines, size if length is None else length, body, last, dated)
            self.sent_bytes = size
        else:
            declared = (size or _UNTOLD) if length is None else length
            self._write(status, lines, declared, b"", last, dated)
        self._finish()
        return True

    async def begin(self, status: int, lines: bytes, length: int | None) -> None:
        """The head of an answer whose body comes piece by piece, in chunks if its length is not known."""
        if not self.protocol.takes_more:
            await self.become_ready()
        self._bodiless = status in _WITHOUT_BODY or self.method == "HEAD"
        self._left = 0 if self._bodiless else length
        if length is None and not self._bodiless:
            lines += b"transfer-encoding: chunked\r\n"
        self._write(status, lines, _UNTOLD if length is None else length, b"", False, None)  # noqa: FBT003

    async def go_on(self, piece: bytes, *, more: bool) -> None:
        if not self.protocol.takes_more:
            await self.become_ready()
        left, transport = self._left, self.protocol.transport
        if self._bodiless:
            pass  # a length there tells what a GET would have brought; nothing follows it
        elif left is None:
            framed = b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
            transport.write(framed if more else framed + b"0\r\n\r\n")
            self.sent_bytes += len(piece)
        elif len(piece) > left:
            raise RuntimeError("the answer is longer than it declared")
        elif piece:
            self._left = left - len(piece)
            transport.write(piece)
            self.sent_bytes += len(piece)
        if not more:
            if self._left:
                raise RuntimeError("the answer is shorter than it declared")
            self._finish()

    async def become_ready(self) -> None:
        """Waits for a client that reads slowly; one that does not read at all loses its connection."""
        if self.protocol.flow.write_paused and not self.disconnected:
            await self._drain()
        if self.disconnected or self.protocol.parser is None:
            self.client_gone = True
            raise ClientGone

    async def _drain(self) -> None:
        await own_task()
        try:
            async with asyncio.timeout(self.protocol.limits.write_timeout_s):
                await self.protocol.flow.drain()
        except TimeoutError:
            self.protocol.transport.abort()
            self.client_gone = True
            raise ClientGone from None

    def _write(  # noqa: PLR0913, PLR0917  as above
        self,
        status: int,
        lines: bytes,
        length: int,
        body: bytes,
        last: bool,
        dated: bool | None,
    ) -> None:
        """The head, and the body that comes with it. Decides whether the connection goes on."""
        if self.response_started:
            raise RuntimeError("an answer has begun already")
        self.response_started = True
        self.status = status
        protocol = self.protocol
        # A node that drains asks its clients to go elsewhere; and a body that is still on its way when the answer
        # starts is never read to its end as another request.
        if last or self.more_body or protocol.drain.has_begun:
            self.keep_alive = False
        if dated is None:
            dated = b"\r\ndate: " in lines or lines.startswith(b"date: ")
        dates, farewell = b"" if dated else protocol.default_lines, b"" if self.keep_alive else _FAREWELL
        protocol.transport.write(
            join(STATUS_LINE[status], lines, self.request_id, dates, farewell, length, body)
        )

    def _finish(self) -> None:
        self.response_complete = True
        if self.body:
            # Nobody reads on: what is left of the request need not be held for as long as the connection is kept.
            self.body = b""
        if self._arrived is not None:
            self._arrived.set()
        if self.keep_alive:
            self.protocol.on_response_complete()
        else:
            self.protocol.linger(whole=not self.more_body)

    # As ASGI ----------------------------------------------------------------------------------------------

    def scope(self) -> dict[str, Any]:
        protocol = self.protocol
        path, _, query = self.target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": protocol.asgi_version, "spec_version": "2.3"},
            "http_version": self.http_version,
            "server": protocol.server,
            "client": protocol.client,
            "scheme": protocol.scheme,
            "method": self.method,
            "root_path": "",
            "path": urllib.parse.unquote(path.decode("latin-1")),
            "raw_path": path,
            "query_string": query,
            "headers": [(name.lower(), value) for name, value in zip(self.names, self.values, strict=True)],
            "state": protocol.app_state.copy(),
            "portreeve.target": self.target,
        }

    async def send(self, message: dict[str, Any]) -> None:
        if self.response_started:
            await self.go_on(message.get("body", b""), more=message.get("more_body", False))
            return
        length, headers = None, []
        for name, value in message.get("headers", ()):
            if name == b"content-length":
                length = int(value)
            elif name == b"connection":
                self.keep_alive = self.keep_alive and value != b"close"
            else:
                headers.append((name, value))
        await self.begin(message["status"], written(headers), length)


async def serve_asgi(exchange: Exchange) -> None:
    """The way to an application that speaks ASGI."""
    await exchange.protocol.app(exchange.scope(), exchange.receive, exchange.send)
