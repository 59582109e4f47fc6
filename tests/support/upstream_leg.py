"""Short words for tests of the upstream leg: one request, one answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from gateway.upstream import OutboundRequest, Timeouts, UpstreamPool, UpstreamResponse, open_head, prepare
from gateway.upstream.response import READ_SIZE
from gateway.upstream.wire import Connection

# Far beyond what any step takes: a test that reaches it hangs, and would rather fail.
PATIENCE_S = 10.0
# Longer still: what a test waits for must come from what it did, not from a deadline that passed.
PATIENT = Timeouts(connect_ms=60_000, first_byte_ms=60_000, idle_ms=60_000, total_ms=60_000)
AUTHORITY = b"upstream.test:8080"


def request(
    method: bytes = b"GET", body: bytes | AsyncIterator[bytes] = b"", *, length: int | None = None
) -> OutboundRequest:
    opening = open_head(AUTHORITY, method, b"/orders?side=buy")
    return prepare(opening, b"x-sent: 1\r\n", 1, b"", body, length)


OpenPool = Callable[..., UpstreamPool]


class FakeClock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def read(response: UpstreamResponse) -> bytes:
    return b"".join([chunk async for chunk in response])


async def ask(
    pool: UpstreamPool, method: bytes = b"GET", body: bytes | AsyncIterator[bytes] = b""
) -> tuple[int, bytes]:
    async with asyncio.timeout(PATIENCE_S):
        response = await pool.send(request(method, body), PATIENT)
        return response.status, await read(response)


def feed(connection: Connection, received: bytes) -> None:
    """What the loop does when this has come, in one read if it fits into one."""
    for start in range(0, len(received), READ_SIZE):
        piece = received[start : start + READ_SIZE]
        connection.get_buffer(-1)[: len(piece)] = piece
        connection.buffer_updated(len(piece))


async def until_true(condition: Callable[[], object]) -> None:
    """Lets the loop turn until it holds: for states of the leg that nothing announces."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  the state under test has no event, on purpose
            await asyncio.sleep(0)


async def until(event: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await event.wait()
