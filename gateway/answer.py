"""An answer on its way to the client: the gateway's own, or an upstream's with its body still arriving."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable

from gateway.server.exchange import Exchange
from gateway.trace import Trace


class Answer:
    """Status, headers and a body that is either whole (`bytes`) or streamed.

    `lines` are the headers as they are written, each with its line end; none of them frames the body or speaks of the
    connection. `length` is what to declare where a whole body does not tell: for an answer to HEAD, and for a streamed
    body whose length is known. `last`: the connection ends with it.
    """

    __slots__ = ("body", "close", "last", "length", "lines", "status")

    def __init__(
        self,
        status: int,
        lines: bytes,
        body: bytes | AsyncIterable[bytes],
        close: Callable[[], Awaitable[None]] | None = None,
        length: int | None = None,
    ) -> None:
        self.status = status
        self.lines = lines
        self.body = body
        self.close = close
        self.length = length
        self.last = False

    def write_at_once(self, exchange: Exchange, trace: Trace) -> bool:
        """Whether it could be: whole, and the client ready for it."""
        body = self.body
        if not (isinstance(body, bytes) and exchange.is_ready()):
            return False
        trace.status = self.status
        trace.sent_bytes = len(body)
        exchange.answer(self.status, self.lines, body, self.length, last=self.last)
        return True

    async def write(self, exchange: Exchange, trace: Trace) -> None:
        body = self.body
        if isinstance(body, bytes):
            while not self.write_at_once(exchange, trace):
                await exchange.become_ready()
            return
        trace.status = self.status
        await exchange.begin(self.status, self.lines, self.length)
        async for piece in body:
            trace.sent_bytes += len(piece)
            await exchange.go_on(piece, more=True)
        await exchange.go_on(b"", more=False)
