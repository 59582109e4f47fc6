"""An answer on its way to the client: the gateway's own, or an upstream's with its body still arriving."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable

import msgspec

from gateway.server.exchange import Exchange
from gateway.trace import Trace


class Answer(msgspec.Struct, eq=False):
    """Status, headers and a body that is either whole (`bytes`) or streamed.

    `lines` are the headers as they are written, each with its line end; none of them frames the body or speaks of the
    connection. `length` is what to declare where a whole body does not tell: for an answer to HEAD, and for a streamed
    body whose length is known. `last`: the connection ends with it.
    """

    status: int
    lines: bytes
    body: bytes | AsyncIterable[bytes]
    close: Callable[[], Awaitable[None]] | None = None
    length: int | None = None
    last: bool = False

    def write_at_once(self, exchange: Exchange, trace: Trace) -> bool:
        """Whether it could be: whole, and the client ready for it."""
        body, status = self.body, self.status
        if not isinstance(body, bytes):
            return False
        if not exchange.answer(status, self.lines, body, self.length, last=self.last):
            return False
        trace.status, trace.sent_bytes = status, len(body)
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
