"""An answer on its way to the client: the gateway's own, or an upstream's with its body still arriving."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any

from gateway.trace import Trace

Header = tuple[bytes, bytes]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Answer:
    """Status, headers and a body that is either whole (`bytes`) or streamed."""

    __slots__ = ("body", "close", "headers", "status")

    def __init__(
        self,
        status: int,
        headers: list[Header],
        body: bytes | AsyncIterable[bytes],
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.close = close

    async def write(self, send: Send, trace: Trace) -> None:
        trace.status = self.status
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        if isinstance(self.body, bytes):
            trace.sent = len(self.body)
            await send({"type": "http.response.body", "body": self.body})
            return
        async for chunk in self.body:
            trace.sent += len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
