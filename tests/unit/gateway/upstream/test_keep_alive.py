"""When a connection serves again, and when it never does."""

from __future__ import annotations

import asyncio

import pytest

from gateway.upstream import UpstreamPool
from tests.support.hostile_upstream import OK, Wire, hostile_upstream, serve_ok
from tests.support.upstream_leg import PATIENT, OpenPool, ask, feed, read, request, until, until_true

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def _connections_for_two_requests(pool: UpstreamPool, method: bytes = b"GET") -> int:
    await ask(pool, method)
    await ask(pool)
    return pool.stats.open


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        CHUNKED + b"2\r\nok\r\n0\r\n\r\n",
        CHUNKED + b"2;a=b\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n",
    ],
)
async def test_a_whole_response_leaves_its_connection_for_the_next_request(
    open_pool: OpenPool, answer: bytes
) -> None:
    """However the body ends, if that is beyond doubt the same connection serves again."""

    async def script(wire: Wire) -> None:
        await wire.answer(answer)
        await serve_ok(wire)

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        for _ in range(3):
            await ask(pool)
        assert [len(wire.asked) for wire in upstream.wires] == [3]


@pytest.mark.parametrize(
    "parts",
    [
        (b"HTTP/1.1 200 OK\r\nConte", b"nt-Length: 4\r\n\r\n", b"ab", b"cd"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab", b"cd"),
        (CHUNKED, b"2\r\nok\r\n", b"0\r\n\r\n"),
    ],
)
async def test_an_answer_in_pieces_still_leaves_a_clean_connection(
    open_pool: OpenPool, parts: tuple[bytes, ...]
) -> None:
    """Where the reads of the socket fall does not matter."""

    async def script(wire: Wire) -> None:
        await wire.read_request()
        for part in parts:
            await wire.send(part)
            await asyncio.sleep(0.01)  # the point is that each part comes in a read of its own
        await serve_ok(wire)

    async with hostile_upstream(script) as upstream:
        assert await _connections_for_two_requests(open_pool(upstream)) == 1
        assert len(upstream.wires) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: x-a, CLOSE\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nProxy-Connection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        OK + b"x",
        OK + b"\r\n",
        OK + b"\n",
        OK + OK,
        OK + b"GET / HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        CHUNKED + b"2\r\nok\r\n0\r\n\r\n\r\n",
        CHUNKED + b"2\r\nok\r\n0\r\n\r\n0\r\n\r\n",
    ],
)
async def test_an_answer_with_something_after_it_or_a_farewell_is_the_last_on_its_connection(
    open_pool: OpenPool, answer: bytes
) -> None:
    """The next request gets a connection of its own, and its own answer."""

    async def script(wire: Wire) -> None:
        if wire.number > 1:
            await serve_ok(wire)
        await wire.answer(answer)
        await wire.wait_hung_up()

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        status, body = await ask(pool)
        assert (status, body) in {(200, b"ok"), (200, b""), (204, b"")}
        assert await ask(pool) == (200, b"ok")
        assert len(upstream.wires) == 2
        await until(upstream.wires[0].hung_up)


async def test_a_body_that_ends_with_the_connection_is_whole_and_the_connection_gone(
    open_pool: OpenPool,
) -> None:
    """Without a length or chunks, an orderly close is the end."""

    async def script(wire: Wire) -> None:
        await wire.answer(b"HTTP/1.1 200 OK\r\n\r\n", b"until", b" the end")

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        assert await ask(pool) == (200, b"until the end")
        assert pool.stats.slots == 0


@pytest.mark.parametrize(
    "before", [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(OK), CHUNKED + b"%x\r\n" % len(OK)]
)
async def test_a_body_that_looks_like_an_answer_is_a_body(open_pool: OpenPool, before: bytes) -> None:
    """Also where it comes in a read of its own."""

    async def silent(wire: Wire) -> None:
        await wire.wait_hung_up()

    async with hostile_upstream(silent) as upstream:
        pool = open_pool(upstream)
        sending = asyncio.create_task(pool.send(request(), PATIENT))
        await until_true(lambda: pool._open and next(iter(pool._open))._response)
        (connection,) = pool._open
        feed(connection, before)
        feed(connection, OK)
        assert await anext(await sending) == OK


async def test_an_answer_to_head_ends_with_its_head(open_pool: OpenPool) -> None:
    """It names the length of what it does not carry, and its connection goes on."""

    async def script(wire: Wire) -> None:
        for head in (
            b"Content-Length: 5000\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"",
            b"Content-Length: 0\r\n",
        ):
            await wire.answer(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
            await wire.answer()

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        lengths = []
        for _ in range(4):
            response = await pool.send(request(b"HEAD"), PATIENT)
            lengths.append(response.content_length)
            assert await read(response) == b""
            assert await ask(pool) == (200, b"ok")
        assert lengths == [5000, None, None, 0]
        assert len(upstream.wires) == 1


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-Length: 5\r\n", b"hello"),
        (b"Content-Length: 5\r\n", b"\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\n", b"5"),
        (b"", b"hello"),
    ],
)
async def test_a_body_in_an_answer_to_head_never_becomes_the_next_answer(
    open_pool: OpenPool, head: bytes, body: bytes
) -> None:
    """The upstream that sends one regardless loses its connection."""

    async def script(wire: Wire) -> None:
        if wire.number > 1:
            await serve_ok(wire)
        await wire.answer(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body)
        await wire.wait_hung_up()

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        assert await ask(pool, b"HEAD") == (200, b"")
        assert await ask(pool) == (200, b"ok")
        assert len(upstream.wires) == 2


async def test_a_second_answer_that_comes_late_is_not_taken_for_the_next(open_pool: OpenPool) -> None:
    """Bytes that lie in the socket, unseen by the loop, are found before the connection is used again."""
    late = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

    async def script(wire: Wire) -> None:
        await wire.answer()
        if wire.number > 1:
            await serve_ok(wire)
        await wire.wait_hung_up()

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        await ask(pool)
        # Straight into the socket, with no turn of the loop between this and the next request.
        upstream.wires[0].send_now(late)
        assert await ask(pool, b"POST", b"x") == (200, b"ok")
        assert len(upstream.wires) == 2


async def test_bytes_on_an_idle_connection_close_it(open_pool: OpenPool) -> None:
    """Whatever an upstream has to say unasked, it says to nobody."""

    async def script(wire: Wire) -> None:
        await wire.answer()
        await wire.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await wire.wait_hung_up()

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        await ask(pool)
        await until(upstream.wires[0].hung_up)
        assert (pool.stats.idle, pool.stats.slots) == (0, 0)


async def test_an_idle_connection_is_closed_when_its_time_is_up(open_pool: OpenPool) -> None:
    """keep_alive_ms is how long an unused connection stays."""

    async def script(wire: Wire) -> None:
        await wire.answer()
        await wire.wait_hung_up()

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream, keep_alive_ms=20)
        await ask(pool)
        await until(upstream.wires[0].hung_up)
        assert (pool.stats.idle, pool.stats.slots) == (0, 0)


async def test_the_connection_used_last_is_used_first(open_pool: OpenPool) -> None:
    """So that those which are too many can grow old and go."""

    async def script(wire: Wire) -> None:
        while True:
            await wire.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % wire.number)

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        first = await asyncio.gather(ask(pool), ask(pool), ask(pool))
        assert {body for _, body in first} == {b"1", b"2", b"3"}
        again = {(await ask(pool))[1] for _ in range(5)}
        assert len(again) == 1
        assert pool.stats.idle == 3


async def test_more_requests_than_connections_share_them(open_pool: OpenPool) -> None:
    """A hundred at once over four connections: all are answered, and no fifth is opened."""
    async with hostile_upstream(serve_ok) as upstream:
        pool = open_pool(upstream, max_connections=4)
        answers = await asyncio.gather(*(ask(pool) for _ in range(100)))
        assert set(answers) == {(200, b"ok")}
        assert len(upstream.wires) == 4
