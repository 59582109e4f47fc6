"""Request bodies, bounded twice: by the route, and by what the whole node may hold in memory.

A signed body is held whole, because its hash is part of what was signed; that of a public route is streamed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Self

import msgspec

from gateway.arrival import Receive
from gateway.problems import Refusal
from gateway.sources import Source


class Budget:
    """How many bytes of bodies this node holds at once. Over it, new bodies are refused, not queued.

    One source gets a share: a body is held before its signature can be checked, so strangers hold some too.
    """

    def __init__(self, limit: int, share: int) -> None:
        self._limit = limit
        self._share = share
        self._of_source: Counter[str] = Counter()
        self.held = 0

    def hold(self, source: Source) -> Hold:
        return Hold(self, source.network)

    def take(self, network: str, size: int) -> None:
        if self.held + size > self._limit or self._of_source[network] + size > self._share:
            raise Refusal(
                "overloaded", "This node holds as many request bodies as it may. Try again shortly."
            )
        self.held += size
        self._of_source[network] += size

    def give_back(self, network: str, size: int) -> None:
        self.held -= size
        self._of_source[network] -= size
        if not self._of_source[network]:
            del self._of_source[network]


class Hold(msgspec.Struct, eq=False, gc=False):
    """One request's share of the budget, given back when its context ends."""

    budget: Budget
    network: str
    size: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.size:
            self.budget.give_back(self.network, self.size)

    def grow(self, size: int) -> None:
        self.budget.take(self.network, size)
        self.size += size


def refuse_declared(declared: int | None, limit: int) -> None:
    """A length that is declared too large is refused before a byte of it is read."""
    if declared is not None and declared > limit:
        raise _too_large(limit)


async def read_whole(receive: Receive, limit: int, hold: Hold) -> bytes:
    chunks: list[bytes] = []
    async for chunk in read_chunks(receive, limit):
        hold.grow(len(chunk))
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def read_chunks(receive: Receive, limit: int) -> AsyncIterator[bytes]:
    """Yields the body as it comes. Ends only where the body ends: a body that broke off is not a body."""
    total = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Refusal("malformed_request", "The request body broke off or did not arrive in time.")
        chunk: bytes = message.get("body", b"")
        total += len(chunk)
        if total > limit:
            raise _too_large(limit)
        if chunk:
            yield chunk
        if not message.get("more_body", False):
            return


def _too_large(limit: int) -> Refusal:
    return Refusal("body_too_large", f"This route takes bodies of at most {limit} bytes.")
