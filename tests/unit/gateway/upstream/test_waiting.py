"""The line for a connection: in order, bounded, and nothing is lost in it."""

from __future__ import annotations

import asyncio

import pytest

from gateway.upstream import PoolExhausted, Timeouts, UpstreamPool, UpstreamUnreachable
from tests.support.hostile_upstream import OK, Wire, hostile_upstream, serve_ok
from tests.support.upstream_leg import PATIENT, OpenPool, ask, feed, read, request, until_true

PARTIAL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"


class Gate:
    """An upstream that answers the first request on each connection only when told."""

    def __init__(self, *answer: bytes) -> None:
        self.open = asyncio.Event()
        self._answer = answer

    async def __call__(self, wire: Wire) -> None:
        await wire.read_request()
        await self.open.wait()
        await wire.send(*(self._answer or (OK,)))
        await serve_ok(wire)


async def _occupy(pool: UpstreamPool, count: int) -> list[asyncio.Task[tuple[int, bytes]]]:
    """So many requests begun; each holds a slot or stands in line."""
    tasks = [asyncio.create_task(ask(pool)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_the_line_has_an_end(open_pool: OpenPool) -> None:
    """Beyond max_waiting a request is refused at once, and the others are not disturbed."""
    gate = Gate()
    async with hostile_upstream(gate) as upstream:
        pool = open_pool(upstream, max_connections=1, max_waiting=2)
        tasks = await _occupy(pool, 3)
        assert (pool.stats.slots, pool.stats.waiting) == (1, 2)
        with pytest.raises(PoolExhausted) as exhausted:
            await pool.send(request(), PATIENT)
        assert exhausted.value.reason == "full"
        gate.open.set()
        assert await asyncio.gather(*tasks) == [(200, b"ok")] * 3
        assert len(upstream.wires) == 1


async def test_waiting_takes_no_longer_than_connecting_may(open_pool: OpenPool) -> None:
    """The line does not move, and that is said in time."""
    gate = Gate()
    async with hostile_upstream(gate) as upstream:
        pool = open_pool(upstream, max_connections=1)
        tasks = await _occupy(pool, 1)
        with pytest.raises(PoolExhausted) as exhausted:
            await pool.send(request(), Timeouts(connect_ms=20))
        assert exhausted.value.reason == "waited"
        assert pool.stats.waiting == 0
        gate.open.set()
        await asyncio.gather(*tasks)


async def test_first_come_first_served(open_pool: OpenPool) -> None:
    """The order of asking is the order of being answered."""
    gate, served = Gate(), []
    async with hostile_upstream(gate) as upstream:
        pool = open_pool(upstream, max_connections=1)

        async def note(number: int) -> None:
            await ask(pool)
            served.append(number)

        tasks = [asyncio.create_task(note(number)) for number in range(10)]
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(*tasks)
        assert served == list(range(10))


async def test_who_gives_up_waiting_leaves_the_line(open_pool: OpenPool) -> None:
    """The next one's turn comes all the same."""
    gate = Gate()
    async with hostile_upstream(gate) as upstream:
        pool = open_pool(upstream, max_connections=1)
        first, second, third = await _occupy(pool, 3)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.open.set()
        assert list(await asyncio.gather(first, third)) == [(200, b"ok")] * 2
        assert (pool.stats.slots, pool.stats.idle) == (1, 1)


async def test_a_connection_handed_to_one_who_is_just_cancelled_is_not_lost(open_pool: OpenPool) -> None:
    """It goes to the next in line, or back to the idle ones."""
    gate = Gate(PARTIAL)
    async with hostile_upstream(gate) as upstream:
        pool = open_pool(upstream, max_connections=1)
        gate.open.set()
        response = await pool.send(request(), PATIENT)
        second, third = await _occupy(pool, 2)
        (connection,) = pool._open
        feed(connection, b"cd")
        second.cancel()  # in the same turn of the loop in which it was handed the connection
        assert await third == (200, b"ok")
        with pytest.raises(asyncio.CancelledError):
            await second
        assert await read(response) == b"abcd"
        assert (pool.stats.slots, pool.stats.idle, pool.stats.waiting) == (1, 1, 0)


async def test_a_connection_that_dies_as_it_is_handed_over_is_replaced(open_pool: OpenPool) -> None:
    """Nothing was sent on it, so even an unsafe request just gets another."""
    gate = Gate(PARTIAL)
    async with hostile_upstream(gate) as upstream:
        pool = open_pool(upstream, max_connections=1)
        gate.open.set()
        response = await pool.send(request(), PATIENT)
        waiting = asyncio.create_task(ask(pool, b"POST", b"{}"))
        await asyncio.sleep(0)
        (connection,) = pool._open
        feed(connection, b"cd")
        feed(connection, b"unasked")
        gate._answer = (OK,)
        assert await waiting == (200, b"ok")
        assert await read(response) == b"abcd"
        assert len(upstream.wires) == 2
        assert pool.stats.slots == 1


async def test_a_slot_that_falls_free_goes_to_who_waits(open_pool: OpenPool) -> None:
    """A failed exchange leaves no connection, but a place for one."""

    async def script(wire: Wire) -> None:
        await wire.read_request()
        if wire.number == 1:
            return
        await wire.send(OK)
        await serve_ok(wire)

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream, max_connections=1)
        tasks = await _occupy(pool, 3)
        first, *others = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(first, Exception)
        assert others == [(200, b"ok")] * 2


async def test_when_no_connection_can_be_made_everyone_in_line_is_told(open_pool: OpenPool) -> None:
    """Each tries in turn, and each fails by itself; no one waits for ever."""
    async with hostile_upstream(serve_ok) as upstream:
        port = upstream.port
    pool = open_pool(port, max_connections=2)
    outcomes = await asyncio.gather(*(ask(pool) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(outcome, UpstreamUnreachable) for outcome in outcomes)
    assert pool.stats.slots == 0


async def test_closing_the_pool_refuses_those_who_wait_and_those_who_come(open_pool: OpenPool) -> None:
    """And ends those who are served."""
    gate = Gate()
    async with hostile_upstream(gate) as upstream:
        pool = open_pool(upstream, max_connections=2)
        tasks = await _occupy(pool, 6)
        await until_true(lambda: len(upstream.wires) >= 2)
        await pool.aclose()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, UpstreamUnreachable) for outcome in outcomes)
        with pytest.raises(UpstreamUnreachable) as closed:
            await ask(pool)
        assert closed.value.reason == "closed"
        await pool.aclose()
