"""The body of a request on its way up, piece by piece, as fast as the upstream takes it.

Invariant: exactly the declared length is sent, or the exchange fails; after the upstream has begun to answer,
nothing more is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from gateway.upstream.errors import BodyLengthMismatch


class Sink(Protocol):
    def wants_more(self) -> bool:
        """False once the upstream has begun to answer, or the connection is gone."""

    def write(self, piece: bytes) -> None: ...

    async def drain(self) -> None: ...

    def sent_all(self) -> None: ...

    def fail_sending(self, error: Exception) -> None:
        """Does nothing once the upstream has begun to answer: then the answer counts."""


async def send_body(sink: Sink, body: AsyncIterator[bytes], length: int | None) -> None:
    """Never raises but for cancellation: what goes wrong ends the exchange, and is raised there."""
    try:
        try:
            await (_send_chunks(sink, body) if length is None else _send_exactly(sink, body, length))
        finally:
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()
    except Exception as error:  # noqa: BLE001  the caller's own iterator: its exception goes back to the caller
        sink.fail_sending(error)


async def _send_exactly(sink: Sink, body: AsyncIterator[bytes], length: int) -> None:
    left = length
    async for piece in body:
        left -= len(piece)
        if not sink.wants_more():
            return
        if left < 0:
            raise BodyLengthMismatch
        sink.write(piece)
        await sink.drain()
        if not sink.wants_more():
            return
    if left:
        raise BodyLengthMismatch
    sink.sent_all()


async def _send_chunks(sink: Sink, body: AsyncIterator[bytes]) -> None:
    async for piece in body:
        if not sink.wants_more():
            return
        if not piece:  # an empty chunk would be the last
            continue
        sink.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await sink.drain()
        if not sink.wants_more():
            return
    if sink.wants_more():
        sink.write(b"0\r\n\r\n")
        sink.sent_all()


async def stop(sending: asyncio.Task[None]) -> None:
    """Waits until it has stopped: the caller's iterator must not be read from two places at once."""
    if not sending.done():
        sending.cancel()
        await asyncio.wait((sending,))
