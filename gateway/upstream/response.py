"""A response as the caller sees it: the head whole, the body as it comes.

Invariant: iteration ends without an exception only where the upstream ended the body. Whatever broke off,
timed out or was closed raises, after what had come before; so a truncated body can't pass for a whole one.
Memory: what has come and was not taken is at most the high-water mark and one read of the socket.

Nothing wakes whoever waits but `wake`, called by the connection when all else is done, and `fail`.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Protocol, Self

from msgspec import Struct

from gateway.upstream.framing import ResponseHead

# Above this the socket is read no further, until the caller has taken everything. Two reads, so that not every
# single one stops and starts the reading.
HIGH_WATER = 131_072
# What is read at once, and what of it is handed out at once. From 128 KiB on, an allocator gets memory from the kernel
# for each piece and gives it back: page faults were most of what a large body cost.
READ_SIZE = 98_304
# A chunk of one byte takes far more than one byte to hold.
_PER_CHUNK = 64


class Source(Protocol):
    """The connection, as its response sees it."""

    @property
    def total_at(self) -> float:
        """When the exchange must be over."""

    def resume_body(self, response: UpstreamResponse) -> None: ...

    def abandon(self, response: UpstreamResponse) -> None:
        """Close the connection if it still serves this response; otherwise it is another's by now."""


class UpstreamResponse(Struct, eq=False):
    """Iterate it once, or close it. The head is there once `arrived` is done without an exception."""

    source: Source
    # The head at first; after it, whenever somebody waits, more of the body.
    arrived: asyncio.Future[None]
    head_only: bool = False
    # How it stands before anything has come. Most responses come whole, and need no more than this.
    status: int = 0
    lines: bytes = b""
    locations: tuple[bytes, ...] = ()
    content_length: int | None = None
    # All that is left of the body, once its end has come.
    whole: bytes | None = None
    # Whether `lines` tell a date, where that is known.
    dated: bool | None = None
    _failure: BaseException | None = None
    _chunks: list[bytes] = []
    _held: int = 0

    # For the caller.

    def __aiter__(self) -> UpstreamResponse:
        return self

    async def __anext__(self) -> bytes:
        while self.whole is None:
            if self._chunks:
                return self._take()
            if self._failure is not None:
                raise self._failure
            self.arrived = self.arrived.get_loop().create_future()
            try:
                await self.arrived
            except BaseException:
                # The client went away. Whoever cancelled may never look at this response again.
                self._abandon()
                raise
        left, self.whole = self.whole, b""
        if not left:
            raise StopAsyncIteration
        return left

    async def aclose(self) -> None:
        """Does nothing to a response that has come whole; closes the connection of any other.

        To read on afterwards raises `UpstreamBroken`, or what had broken the response before.
        """
        self._abandon()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._abandon()

    # For the pool and the connection.

    @property
    def has_begun(self) -> bool:
        return self.status > 0

    def begin(self, head: ResponseHead) -> None:
        """Wakes nobody yet: there may be more in the same read."""
        self.status = head.status
        self.lines = head.lines
        self.locations = head.locations
        self.content_length = head.content_length

    def push(self, chunks: list[bytes]) -> None:
        """The list itself is the response's from now on."""
        if self._chunks:
            self._chunks += chunks
        else:
            self._chunks = chunks
        self._held += sum(map(len, chunks)) + _PER_CHUNK * len(chunks)

    def is_full(self) -> bool:
        return self._held > HIGH_WATER

    def end(self) -> None:
        # What came in one piece is not copied by this.
        self.whole = b"".join(self._chunks)
        self._chunks.clear()

    def fail(self, error: BaseException) -> None:
        self._failure = error
        if not self.has_begun and not self.arrived.done():
            self.arrived.set_exception(error)
            # Looked at here, or a caller cancelled in this very moment would leave a complaint in the log.
            self.arrived.exception()
        self.wake()

    def wake(self) -> None:
        # Done already if nobody waits, or whoever did was cancelled a moment ago and has not run yet.
        if not self.arrived.done():
            self.arrived.set_result(None)

    def _abandon(self) -> None:
        if self.whole is None:
            self.source.abandon(self)
            self._chunks.clear()

    def _take(self) -> bytes:
        chunks = self._chunks
        size, count = len(chunks[0]), 1
        while count < len(chunks) and size + len(chunks[count]) <= READ_SIZE:
            size += len(chunks[count])
            count += 1
        body = chunks[0] if count == 1 else b"".join(chunks[:count])
        del chunks[:count]
        self._held -= size + _PER_CHUNK * count
        if not chunks:
            self.source.resume_body(self)
        return body
