"""An answer on its way to the client: the gateway's own, or an upstream's with its body still arriving."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable

from gateway.server.exchange import Exchange, Header
from gateway.trace import Trace


class Answer:
    """Status, headers and a body that is either whole (`bytes`) or streamed.

    Headers say nothing of framing or of the connection. `length` is what to declare where a whole body does not tell:
    for an answer to HEAD, and for a streamed body whose length is known. `last`: the connection ends with it.
    """

    __slots__ = ("body", "close", "headers", "last", "length", "status")

    def __init__(
        self,
        status: int,
        headers: list[Header],
        body: bytes | AsyncIterable[bytes],
        close: Callable[[], Awaitable[None]] | None = None,
        length: int | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.close = close
        self.length = length
        self.last = False

    async def write(self, exchange: Exchange, trace: Trace) -> None:
        trace.status = self.status
        body = self.body
        if isinstance(body, bytes):
            trace.sent_bytes = len(body)
            await exchange.answer(self.status, self.headers, body, self.length, last=self.last)
            return
        await exchange.begin(self.status, self.headers, self.length)
        async for piece in body:
            trace.sent_bytes += len(piece)
            await exchange.go_on(piece, more=True)
        await exchange.go_on(b"", more=False)
