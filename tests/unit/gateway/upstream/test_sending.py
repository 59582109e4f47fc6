"""Request bodies: whole or streamed, as fast as the upstream takes them, and no longer than it listens."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from gateway.upstream import BodyLengthMismatch, UpstreamBroken, open_head, prepare
from tests.support.hostile_upstream import Wire, hostile_upstream, serve_ok
from tests.support.upstream_leg import (
    AUTHORITY,
    PATIENT,
    OpenPool,
    ask,
    feed,
    read,
    request,
    until,
    until_true,
)

EARLY = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno"

OPENING = open_head(AUTHORITY, b"GET", b"/")


class Body:
    """A streamed body that knows how much of it was taken, and whether it was closed."""

    def __init__(self, *pieces: bytes, error: Exception | None = None, endless: bool = False) -> None:
        self.taken = 0
        self.closed = False
        self._pieces = list(pieces)
        self._error = error
        self._endless = endless

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        if not self._pieces:
            if self._error is not None:
                raise self._error
            if not self._endless:
                raise StopAsyncIteration
            await asyncio.Event().wait()
        piece = self._pieces.pop(0) if not self._endless else self._pieces[0]
        self.taken += len(piece)
        return piece

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("method", "body", "framing"),
    [
        (b"GET", b"", []),
        (b"DELETE", b"", []),
        (b"POST", b"", [(b"content-length", b"0")]),
        (b"PUT", b"abc", [(b"content-length", b"3")]),
        (b"GET", b"abc", [(b"content-length", b"3")]),
    ],
)
async def test_a_whole_body_is_framed_by_its_length(
    open_pool: OpenPool, method: bytes, body: bytes, framing: list[tuple[bytes, bytes]]
) -> None:
    """The head stands on the wire as it was given, and one line more at most."""
    async with hostile_upstream(serve_ok) as upstream:
        await ask(open_pool(upstream), method, body)
        (asked,) = upstream.asked
        assert asked.line == method + b" /orders?side=buy HTTP/1.1"
        assert asked.headers == [(b"host", AUTHORITY), (b"x-sent", b"1"), *framing]
        assert asked.body == body


async def test_a_large_body_arrives_as_it_was(open_pool: OpenPool) -> None:
    """It goes in pieces, and is one body nevertheless; the connection serves on."""
    body = bytes(range(256)) * 20_000
    async with hostile_upstream(serve_ok) as upstream:
        pool = open_pool(upstream)
        assert await ask(pool, b"POST", body) == (200, b"ok")
        assert await ask(pool) == (200, b"ok")
        assert upstream.asked[0].body == body
        assert upstream.asked[0].find(b"content-length") == b"%d" % len(body)
        assert len(upstream.wires) == 1


@pytest.mark.parametrize(
    ("length", "framing"), [(6, (b"content-length", b"6")), (None, (b"transfer-encoding", b"chunked"))]
)
async def test_a_streamed_body_is_framed_by_its_length_or_in_chunks(
    open_pool: OpenPool, length: int | None, framing: tuple[bytes, bytes]
) -> None:
    """An empty piece is nothing, and above all no end."""
    body = Body(b"abc", b"", b"def")
    async with hostile_upstream(serve_ok) as upstream:
        pool = open_pool(upstream)
        response = await pool.send(request(b"POST", body, length=length), PATIENT)
        assert await read(response) == b"ok"
        assert upstream.asked[0].headers[2:] == [framing]
        assert upstream.asked[0].body == b"abcdef"
        assert body.closed
        await ask(pool)
        assert len(upstream.wires) == 1


@pytest.mark.parametrize("pieces", [(b"abc",), (b"abc", b"defg"), ()])
async def test_a_body_of_another_length_than_declared_closes_the_connection(
    open_pool: OpenPool, pieces: tuple[bytes, ...]
) -> None:
    """Too short, and the next request would become its end; too long, and its end would become a request."""

    async def script(wire: Wire) -> None:
        await wire.read_head()
        received = await wire.wait_hung_up()
        assert len(received) <= 6

    body = Body(*pieces)
    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        with pytest.raises(BodyLengthMismatch):
            await pool.send(request(b"POST", body, length=6), PATIENT)
        await until(upstream.wires[0].hung_up)
        assert body.closed
        assert pool.stats.slots == 0


async def test_what_the_body_raises_reaches_the_caller_and_ends_the_connection(open_pool: OpenPool) -> None:
    """A client that hangs up in the middle of its body has not sent a request."""

    class ClientGoneError(Exception):
        pass

    async def script(wire: Wire) -> None:
        await wire.read_head()
        assert b"\r\n0\r\n" not in await wire.wait_hung_up()

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        with pytest.raises(ClientGoneError):
            await pool.send(request(b"POST", Body(b"abc", error=ClientGoneError())), PATIENT)
        await until(upstream.wires[0].hung_up)
        assert pool.stats.slots == 0


@pytest.mark.parametrize("length", [None, 10**9])
async def test_an_early_answer_stops_the_body_and_is_the_last_on_its_connection(
    open_pool: OpenPool, length: int | None
) -> None:
    """The answer is handed out whole; what was not sent yet never is."""

    async def script(wire: Wire) -> None:
        await wire.read_head()
        await wire.reader.read(10)
        await wire.send(EARLY)
        await wire.wait_hung_up()

    body = Body(b"x" * 1_000, endless=True)
    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        response = await pool.send(request(b"POST", body, length=length), PATIENT)
        assert (response.status, await read(response)) == (413, b"no")
        taken = body.taken
        assert body.closed
        await until(upstream.wires[0].hung_up)
        assert body.taken == taken
        assert pool.stats.slots == 0


async def test_an_early_answer_while_the_client_is_silent_does_not_wait_for_it(open_pool: OpenPool) -> None:
    """The body's next piece may never come; the answer is here."""

    async def script(wire: Wire) -> None:
        await wire.read_head()
        await wire.send(EARLY)
        await wire.wait_hung_up()

    async def silent() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.Event().wait()

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        response = await pool.send(request(b"POST", silent()), PATIENT)
        assert await read(response) == b"no"
        await until(upstream.wires[0].hung_up)


async def test_an_early_answer_to_a_large_whole_body_is_the_last_too(open_pool: OpenPool) -> None:
    """A body held in memory is no reason to send on."""

    async def script(wire: Wire) -> None:
        await wire.read_head()
        await wire.send(EARLY)
        await wire.wait_hung_up()

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        response = await pool.send(request(b"POST", b"x" * 50_000_000), PATIENT)
        assert await read(response) == b"no"
        await until(upstream.wires[0].hung_up)
        assert pool.stats.slots == 0


async def test_an_answer_before_the_last_byte_of_a_small_body_is_early_too(open_pool: OpenPool) -> None:
    """It left in one write for us, but not for the upstream, which may take the rest for a request."""

    async def script(wire: Wire) -> None:
        await wire.answer()
        wire.shrink_buffers()
        await asyncio.Event().wait()

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        await ask(pool)
        (connection,) = pool._open
        connection._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2_048)
        sending = asyncio.create_task(pool.send(request(b"POST", b"x" * 60_000), PATIENT))
        await until_true(lambda: connection._transport.get_write_buffer_size() > 0)
        feed(connection, EARLY)
        assert await read(await sending) == b"no"
        assert pool.stats.slots == 0


async def test_a_large_whole_body_does_not_pile_up_in_the_transport(open_pool: OpenPool) -> None:
    """It is in memory once already."""

    async def script(wire: Wire) -> None:
        await wire.read_head()
        await asyncio.Event().wait()

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        sending = asyncio.create_task(pool.send(request(b"POST", b"x" * 30_000_000), PATIENT))
        await until_true(lambda: pool._open and next(iter(pool._open))._drained)
        (connection,) = pool._open
        assert 0 < connection._transport.get_write_buffer_size() < 1_000_000
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending


async def test_no_more_is_taken_from_the_client_than_the_upstream_takes(open_pool: OpenPool) -> None:
    """An upstream that does not read stops the body, not fills the memory."""
    go_on = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.read_head()
        await go_on.wait()
        await wire.wait_hung_up()

    body = Body(b"x" * 65_536, endless=True)
    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        sending = asyncio.create_task(pool.send(request(b"POST", body), PATIENT))
        taken = -1
        while taken != body.taken:
            taken = body.taken
            await asyncio.sleep(0.05)  # until the buffers of both kernels' ends are full
        assert 0 < taken < 32_000_000
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        go_on.set()
        assert body.closed
        assert pool.stats.slots == 0


@pytest.mark.parametrize(
    ("method", "target"),
    [
        (b"GET", b"/a b"),
        (b"GET", b"/a\r\nx: y"),
        (b"GET", b"/ HTTP/1.1\r\nx: y"),
        (b"GET", b""),
        (b"G T", b"/"),
        (b"GET /x HTTP/1.1\r\nGET", b"/"),
        (b"", b"/"),
        (b"GET", b"/\0"),
        (b"GET", b"/\x0b"),
    ],
)
def test_a_request_line_that_could_be_read_in_two_ways_is_refused(method: bytes, target: bytes) -> None:
    """One method, one target."""
    with pytest.raises(ValueError, match=r"request line|NUL"):
        open_head(AUTHORITY, method, target)


@pytest.mark.parametrize("authority", [b"", b"u\r\nevil: 1", b"u\nevil: 1", b"u\r", b"u\0", b"u v"])
def test_an_authority_that_could_add_a_line_is_refused(authority: bytes) -> None:
    """It is the operator's, and stands in the same lines."""
    with pytest.raises(ValueError, match="authority"):
        open_head(authority, b"GET", b"/")


@pytest.mark.parametrize(
    "lines",
    [
        b"a: 1\r\nevil: 1\r\n",
        b"a: 1\nevil: 1\r\n",
        b"a: 1\rb\r\n",
        b"a: 1\0b\r\n",
        b"a\r\nevil: 1\r\n",
        b"a: 1\n",
        b"a: 1\r",
        b"a: 1",
        b"",
    ],
)
@pytest.mark.parametrize("body", [b"", b"x"])
def test_lines_are_counted_and_hold_nothing_that_could_end_one(lines: bytes, body: bytes) -> None:
    """What stands in them is partly a client's: no more lines than names, no fewer, and each ends as lines do."""
    with pytest.raises(ValueError, match="header"):
        prepare(OPENING, lines, 1, b"b: 1\r\n", body)
    assert b"\r\na: 1\r\nb: 1\r\n" in prepare(OPENING, b"a: 1\r\n", 1, b"b: 1\r\n", body).first


def test_a_negative_length_is_refused() -> None:
    """It would frame nothing."""
    with pytest.raises(ValueError, match="negative"):
        request(b"POST", Body(), length=-1)


async def test_an_upstream_that_hangs_up_on_a_body_is_broken(open_pool: OpenPool) -> None:
    """Without an answer there is nothing to hand out."""

    async def script(wire: Wire) -> None:
        await wire.read_head()
        wire.reset()

    body = Body(b"x" * 65_536, endless=True)
    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        with pytest.raises(UpstreamBroken) as broken:
            await pool.send(request(b"POST", body), PATIENT)
        assert broken.value.reason == "closed_early"
        assert body.closed
