"""An answer on its way to the client: the gateway's own, or an upstream's with its body still arriving."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable

import msgspec

from gateway.server.exchange import Exchange


class Answer(msgspec.Struct, eq=False):
    """Status, headers and a body that is either whole (`bytes`) or streamed.

    `lines` are the headers as they are written, each with its line end; none of them frames the body or speaks of the
    connection. `length` is what to declare where a whole body does not tell: for an answer to HEAD, and for a streamed
    body whose length is known. `last`: the connection ends with it. `dated`: whether the lines tell a date; None where
    that has to be looked up.
    """

    status: int
    lines: bytes
    body: bytes | AsyncIterable[bytes]
    close: Callable[[], Awaitable[None]] | None = None
    length: int | None = None
    last: bool = False
    dated: bool | None = None

    def write_at_once(self, exchange: Exchange) -> bool:
        """Whether it could be: whole, and the client ready for it."""
        body = self.body
        return isinstance(body, bytes) and exchange.answer(
            self.status, self.lines, body, self.length, self.last, self.dated
        )

    async def write(self, exchange: Exchange) -> None:
        body = self.body
        if isinstance(body, bytes):
            while not self.write_at_once(exchange):
                await exchange.become_ready()
            return
        await exchange.begin(self.status, self.lines, self.length)
        async for piece in body:
            await exchange.go_on(piece, more=True)
        await exchange.go_on(b"", more=False)
