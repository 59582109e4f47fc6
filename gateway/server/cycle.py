"""One request and its answer on one connection.

Invariant: an answer is written whole or its connection is closed under it; an answer that starts before its
request has been read to the end is the last of its connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

if TYPE_CHECKING:
    from gateway.server.protocol import StrictProtocol

Header = tuple[bytes, bytes]

_WITHOUT_BODY = frozenset({204, 304})


class ClientGone(OSError):
    """The client went away, or stopped reading, before its answer was whole."""


class Cycle:
    """One request and its answer, as an ASGI `receive` and `send` pair."""

    __slots__ = (
        "_bodiless",
        "_chunked",
        "_declared",
        "_expects_continue",
        "body",
        "broken",
        "disconnected",
        "keep_alive",
        "message_event",
        "more_body",
        "protocol",
        "response_complete",
        "response_started",
        "scope",
    )

    def __init__(
        self, protocol: StrictProtocol, scope: dict[str, Any], *, keep_alive: bool, expects: bool
    ) -> None:
        self.protocol = protocol
        self.scope = scope
        self.keep_alive = keep_alive
        self.message_event = asyncio.Event()
        self.body = bytearray()
        self.more_body = True
        self.broken = False
        self.disconnected = False
        self.response_started = False
        self.response_complete = False
        self._expects_continue = expects
        self._bodiless = False
        self._chunked = False
        self._declared = 0

    async def run(self, app: Callable[..., Any]) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        except ClientGone:
            self.abort()
        except Exception:
            self.protocol.logger.exception("the application failed")
            self.abort()
        else:
            if not self.response_complete:
                self.abort()

    def abort(self) -> None:
        """Ends the connection in the middle of the answer: the client must see that it is not whole."""
        if not self.disconnected:
            self.protocol.end()

    async def receive(self) -> dict[str, Any]:
        protocol = self.protocol
        if self._expects_continue and not self.response_started and not protocol.transport.is_closing():
            protocol.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._expects_continue = False
        if self.more_body and not self.body and not self._is_over():
            protocol.flow.resume_reading()
            self.message_event.clear()
            await self.message_event.wait()
        if self._is_over():
            return {"type": "http.disconnect", "broken": self.broken}
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    def _is_over(self) -> bool:
        return self.disconnected or self.response_complete or self.broken

    async def send(self, message: dict[str, Any]) -> None:
        flow = self.protocol.flow
        if flow.write_paused and not self.disconnected:
            await self._drain()
        if self.disconnected or self.protocol.parser is None:
            raise ClientGone
        if not self.response_started:
            self._start(message["status"], message.get("headers", ()))
        else:
            self._continue(message.get("body", b""), more=message.get("more_body", False))

    async def _drain(self) -> None:
        """Waits for a client that reads slowly; one that does not read at all loses its connection."""
        try:
            async with asyncio.timeout(self.protocol.limits.write_timeout_s):
                await self.protocol.flow.drain()
        except TimeoutError:
            self.protocol.transport.abort()
            raise ClientGone from None

    def _start(self, status: int, headers: list[Header]) -> None:
        self.response_started = True
        head = [STATUS_LINE[status]]
        framed = dated = False
        for name, value in headers:
            if name == b"content-length":
                framed, self._declared = True, int(value)
            elif name == b"date":
                dated = True
            elif name == b"connection":
                self.keep_alive = self.keep_alive and value != b"close"
                continue
            head += (name, b": ", value, b"\r\n")
        if not dated:
            for name, value in self.protocol.server_state.default_headers:
                head += (name, b": ", value, b"\r\n")
        if not self.keep_alive or self.more_body or type(self.protocol).is_draining():
            # A node that drains asks its clients to go elsewhere; and a body that is still on its way when the
            # answer starts is never read to its end as another request.
            self.keep_alive = False
            head.append(b"connection: close\r\n")
        self._bodiless = status in _WITHOUT_BODY or self.scope["method"] == "HEAD"
        if not framed and not self._bodiless:
            self._chunked = True
            head.append(b"transfer-encoding: chunked\r\n")
        head.append(b"\r\n")
        self.protocol.transport.write(b"".join(head))

    def _continue(self, body: bytes, *, more: bool) -> None:
        transport = self.protocol.transport
        if self._bodiless:
            # A length there tells what a GET would have brought; nothing follows it.
            self._declared = 0
        elif self._chunked:
            framed = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            transport.write(framed if more else framed + b"0\r\n\r\n")
        elif body:
            self._declared -= len(body)
            if self._declared < 0:
                raise RuntimeError("the answer is longer than it declared")
            transport.write(body)
        if not more:
            self._finish()

    def _finish(self) -> None:
        if self._declared:
            raise RuntimeError("the answer is shorter than it declared")
        self.response_complete = True
        self.message_event.set()
        if self.keep_alive:
            self.protocol.on_response_complete()
        else:
            self.protocol.linger(whole=not self.more_body)
