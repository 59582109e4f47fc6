"""The caller goes away, or closes: nothing of the exchange stays, and nobody else's is touched."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
import warnings

import pytest

from gateway.upstream import UpstreamBroken, UpstreamUnreachable, client_context
from gateway.upstream.response import HIGH_WATER, READ_SIZE
from tests.support.hostile_upstream import OK, Wire, hostile_upstream, serve_ok
from tests.support.upstream_leg import (
    PATIENCE_S,
    PATIENT,
    OpenPool,
    ask,
    feed,
    read,
    request,
    until,
    until_true,
)

PARTIAL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"


async def _answer_in_part(wire: Wire) -> None:
    await wire.answer(PARTIAL)
    await wire.wait_hung_up()


async def _never_answer(wire: Wire) -> None:
    await wire.read_request()
    await wire.wait_hung_up()


async def test_a_caller_that_is_cancelled_before_the_answer_closes_its_connection(
    open_pool: OpenPool,
) -> None:
    """The answer to a request whose client has gone must not meet the next one."""
    async with hostile_upstream(_never_answer) as upstream:
        pool = open_pool(upstream)
        task = asyncio.create_task(ask(pool))
        await until_true(lambda: upstream.asked)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(upstream.wires[0].hung_up)
        assert pool.stats.slots == 0


async def test_a_caller_that_is_cancelled_inside_the_body_closes_its_connection(open_pool: OpenPool) -> None:
    """Without anyone having to say so."""
    async with hostile_upstream(_answer_in_part) as upstream:
        pool = open_pool(upstream)
        task = asyncio.create_task(ask(pool))
        await until_true(lambda: pool._open and upstream.asked)
        await asyncio.sleep(0.02)  # until it waits for the rest of the body
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(upstream.wires[0].hung_up)
        assert pool.stats.slots == 0


async def test_a_response_closed_before_its_end_takes_its_connection_along(open_pool: OpenPool) -> None:
    """The rest of the body would be the next answer. Reading on raises: it does not look like an end."""
    async with hostile_upstream(_answer_in_part) as upstream:
        pool = open_pool(upstream)
        async with await pool.send(request(), PATIENT) as response:
            assert response.status == 200
        await until(upstream.wires[0].hung_up)
        with pytest.raises(UpstreamBroken) as broken:
            await anext(response)
        assert broken.value.reason == "abandoned"
        assert pool.stats.slots == 0


async def test_closing_wakes_who_still_reads(open_pool: OpenPool) -> None:
    """Another task may wait for the body."""
    async with hostile_upstream(_answer_in_part) as upstream:
        pool = open_pool(upstream)
        response = await pool.send(request(), PATIENT)
        reading = asyncio.create_task(read(response))
        await asyncio.sleep(0)
        await response.aclose()
        with pytest.raises(UpstreamBroken):
            await reading


async def test_a_whole_response_may_be_closed_and_is_still_there(open_pool: OpenPool) -> None:
    """By then its connection may serve another, who must not notice."""
    async with hostile_upstream(serve_ok) as upstream:
        pool = open_pool(upstream)
        first = await pool.send(request(), PATIENT)
        second_coming = asyncio.create_task(pool.send(request(), PATIENT))
        await asyncio.sleep(0)
        await first.aclose()
        second = await second_coming
        assert (await read(first), await read(second)) == (b"ok", b"ok")
        assert len(upstream.wires) == 1


async def test_a_cancelled_caller_whose_answer_is_here_does_not_harm_the_next(open_pool: OpenPool) -> None:
    """Its connection went back to the pool in the same turn of the loop, and is another's by now."""
    release = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.read_request()
        await release.wait()
        await serve_ok(wire)

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream, max_connections=1)
        first = asyncio.create_task(pool.send(request(), PATIENT))
        await until_true(lambda: upstream.asked)
        second = asyncio.create_task(ask(pool))
        await asyncio.sleep(0)
        (connection,) = pool._open
        feed(connection, OK)
        first.cancel()
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await second == (200, b"ok")
        assert len(upstream.wires) == 1
        assert (pool.stats.slots, pool.stats.idle) == (1, 1)


async def test_a_cancelled_caller_whose_head_is_here_leaves_no_connection(open_pool: OpenPool) -> None:
    """The head had come, the caller had not run yet: nobody would ever read the body."""
    async with hostile_upstream(_never_answer) as upstream:
        pool = open_pool(upstream)
        task = asyncio.create_task(pool.send(request(), PATIENT))
        await until_true(lambda: upstream.asked)
        (connection,) = pool._open
        feed(connection, PARTIAL)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(upstream.wires[0].hung_up)
        assert pool.stats.slots == 0


async def test_an_answer_that_comes_just_after_its_caller_was_cancelled_is_still_an_end(
    open_pool: OpenPool,
) -> None:
    """The caller has not run yet; whole as it is, the answer leaves a connection that can serve again."""
    async with hostile_upstream(_never_answer) as upstream:
        pool = open_pool(upstream)
        task = asyncio.create_task(pool.send(request(), PATIENT))
        await until_true(lambda: upstream.asked)
        (connection,) = pool._open
        task.cancel()
        feed(connection, OK)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (pool.stats.slots, pool.stats.idle) == (1, 1)


async def test_a_caller_cancelled_as_its_connection_dies_frees_its_slot(open_pool: OpenPool) -> None:
    """Between the failure and the repetition there is a moment in which the slot is the caller's."""

    async def script(wire: Wire) -> None:
        await wire.answer()
        await _never_answer(wire)

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        await ask(pool)
        task = asyncio.create_task(pool.send(request(), PATIENT))
        await until_true(lambda: len(upstream.asked) >= 2)
        (connection,) = pool._open
        connection.connection_lost(None)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert pool.stats.slots == 0


async def test_a_caller_cancelled_while_connecting_leaves_no_socket(open_pool: OpenPool) -> None:
    """Not even in the middle of a handshake."""
    async with hostile_upstream(_never_answer) as upstream:
        pool = open_pool(upstream, tls=client_context())
        task = asyncio.create_task(ask(pool))
        await until_true(lambda: upstream.wires)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (pool.stats.slots, pool.stats.open) == (0, 0)


async def test_closing_the_pool_ends_a_response_that_is_being_read(open_pool: OpenPool) -> None:
    """And returns only when every socket is closed."""
    async with hostile_upstream(_answer_in_part) as upstream:
        pool = open_pool(upstream)
        response = await pool.send(request(), PATIENT)
        await pool.aclose()
        assert (pool.stats.open, pool.stats.slots) == (0, 0)
        assert await anext(response) == b"ab"
        with pytest.raises(Exception, match="closed"):
            await anext(response)
        await until(upstream.wires[0].hung_up)


async def test_closing_the_pool_waits_for_a_connection_that_is_just_being_made(open_pool: OpenPool) -> None:
    """It serves nobody any more, and is closed before closing is over."""
    async with hostile_upstream(serve_ok) as upstream:
        pool = open_pool(upstream)
        task = asyncio.create_task(ask(pool))
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_S):
            await pool.aclose()
        with pytest.raises(UpstreamUnreachable):
            await task
        assert upstream.asked == []


async def test_closing_the_pool_does_not_leave_anyone_in_line(open_pool: OpenPool) -> None:
    """Not even until a connection that is being made has failed."""
    async with hostile_upstream(_never_answer) as upstream:
        pool = open_pool(upstream, max_connections=1, tls=client_context())
        dialling, waiting = asyncio.create_task(ask(pool)), asyncio.create_task(ask(pool))
        await until_true(lambda: pool.stats.waiting)
        closing = asyncio.create_task(pool.aclose())
        with pytest.raises(UpstreamUnreachable):
            await waiting
        assert not closing.done()
        dialling.cancel()
        await closing
        with pytest.raises(asyncio.CancelledError):
            await dialling


async def test_a_closed_connection_leaves_no_timer(open_pool: OpenPool) -> None:
    """A timer would keep all of it alive until it rings."""
    async with hostile_upstream(serve_ok) as upstream:
        pool = open_pool(upstream)
        await ask(pool)
        (connection,) = pool._open
        await pool.aclose()
        deadlines = connection.deadlines
        assert deadlines._timer is None
        deadlines.await_next(0.0)
        assert deadlines._timer is None


async def test_nothing_stays_behind(open_pool: OpenPool) -> None:
    """No task, and no object that complains when it is collected."""
    before = len(asyncio.all_tasks())

    async def script(wire: Wire) -> None:
        await wire.answer(PARTIAL if wire.number % 2 else OK)

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await asyncio.gather(*(ask(pool) for _ in range(20)), return_exceptions=True)
            await pool.aclose()
            gc.collect()
    assert len(asyncio.all_tasks()) == before


async def test_memory_stays_flat_however_large_the_body(open_pool: OpenPool) -> None:
    """A client that takes its time keeps the upstream waiting, not us storing."""
    size, piece = 64_000_000, b"x" * 64_000

    async def script(wire: Wire) -> None:
        await wire.answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(piece)):
            await wire.send(piece)
        await serve_ok(wire)

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        response = await pool.send(request(), PATIENT)
        tracemalloc.start()
        taken = largest = 0
        async for chunk in response:
            taken += len(chunk)
            largest = max(largest, len(chunk))
            await asyncio.sleep(0)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert taken == size
        assert largest <= HIGH_WATER + READ_SIZE
        assert peak < 8_000_000
        assert await ask(pool) == (200, b"ok")
        assert len(upstream.wires) == 1


async def test_a_connection_whose_reading_was_paused_to_the_end_is_read_again(open_pool: OpenPool) -> None:
    """The rest of a body may still come while paused; the next answer on the connection must come too."""

    async def script(wire: Wire) -> None:
        await wire.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n")
        await serve_ok(wire)

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        response = await pool.send(request(), PATIENT)
        (connection,) = pool._open
        feed(connection, b"x" * 150_000)
        assert connection._paused
        feed(connection, b"x" * 150_000)
        assert await ask(pool) == (200, b"ok")
        assert len(await read(response)) == 300_000
        assert len(upstream.wires) == 1


async def test_a_body_of_single_bytes_is_held_by_what_it_costs(open_pool: OpenPool) -> None:
    """A thousand chunks of one byte are more than a thousand bytes."""

    async def script(wire: Wire) -> None:
        await wire.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 200_000)
        await wire.send(b"0\r\n\r\n")
        await serve_ok(wire)

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        response = await pool.send(request(), PATIENT)
        (connection,) = pool._open
        await until_true(lambda: connection._paused)
        assert len(response._chunks) <= (HIGH_WATER + 64 * READ_SIZE // 6) // 64 + 1
        assert await read(response) == b"x" * 200_000
        assert await ask(pool) == (200, b"ok")


async def test_a_caller_that_leaves_while_it_connects_leaves_nothing(open_pool: OpenPool) -> None:
    """However far the connection has come; a loop may close it and never tell."""
    async with hostile_upstream(serve_ok) as upstream:
        pool = open_pool(upstream)
        for turns in range(6):
            caller = asyncio.create_task(pool.send(request(), PATIENT))
            for _ in range(turns):
                await asyncio.sleep(0)
            caller.cancel()
            await asyncio.wait((caller,))
            await until_true(lambda: pool.stats.slots == pool.stats.idle == pool.stats.open)
        assert await ask(pool) == (200, b"ok")
