"""Four deadlines with names; which of them runs when, and that our own slowness is not the upstream's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.upstream import Timeouts, UpstreamPool, UpstreamResponse, UpstreamTimeout, client_context
from tests.support.hostile_upstream import Wire, hostile_upstream, serve_ok
from tests.support.upstream_leg import FakeClock, OpenPool, ask, read, request, until, until_true

LONG = 10_000
BIG = b"HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n"


def _ring(pool: UpstreamPool) -> None:
    """What the timer of the one connection would do at this time."""
    (connection,) = pool._open
    connection.deadlines.ring()


async def _read_until_paused(pool: UpstreamPool, response: UpstreamResponse) -> None:
    (connection,) = pool._open
    await until_true(lambda: connection._paused)
    assert response.whole is None


async def _silent(wire: Wire) -> None:
    await wire.wait_hung_up()


def test_what_clocks_count_is_derived_and_cannot_be_passed() -> None:
    """One deadline has one length."""
    timeouts = Timeouts(1_500, 2_500, 3_500, 4_500, 9.0, 9.0, 9.0, 9.0)
    assert (timeouts.connect_s, timeouts.first_byte_s, timeouts.idle_s, timeouts.total_s) == (
        1.5,
        2.5,
        3.5,
        4.5,
    )


async def test_connect_covers_the_handshake_too(open_pool: OpenPool) -> None:
    """An upstream that accepts and then says nothing of TLS is not connected."""
    async with hostile_upstream(_silent) as upstream:
        pool = open_pool(upstream, tls=client_context())
        with pytest.raises(UpstreamTimeout) as late:
            await pool.send(request(), Timeouts(connect_ms=30))
        assert late.value.which == "connect"
        await until(upstream.wires[0].hung_up)
        assert (pool.stats.slots, pool.stats.open) == (0, 0)


async def test_total_is_named_when_it_is_the_shorter(open_pool: OpenPool) -> None:
    """Also while connecting."""
    async with hostile_upstream(_silent) as upstream:
        pool = open_pool(upstream, tls=client_context())
        with pytest.raises(UpstreamTimeout) as late:
            await pool.send(request(), Timeouts(connect_ms=LONG, total_ms=30))
        assert late.value.which == "total"


@pytest.mark.parametrize(
    ("timeouts", "which"),
    [
        (Timeouts(first_byte_ms=30), "first_byte"),
        (Timeouts(first_byte_ms=LONG, total_ms=30), "total"),
    ],
)
async def test_an_upstream_that_never_answers_is_given_up(
    open_pool: OpenPool, timeouts: Timeouts, which: str
) -> None:
    """Its connection is closed: an answer may still come, and must reach nobody."""
    async with hostile_upstream(_silent) as upstream:
        pool = open_pool(upstream)
        with pytest.raises(UpstreamTimeout) as late:
            await pool.send(request(b"POST", b"{}"), timeouts)
        assert late.value.which == which
        await until(upstream.wires[0].hung_up)
        assert pool.stats.slots == 0


@pytest.mark.parametrize("drip", [b"HTTP/1.1 200 OK\r\nX-Slow: 1", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
async def test_a_dripping_head_does_not_stop_first_byte(open_pool: OpenPool, drip: bytes) -> None:
    """A byte now and then, or interim answers, are no answer."""

    async def script(wire: Wire) -> None:
        await wire.answer(drip)
        await wire.wait_hung_up()

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        with pytest.raises(UpstreamTimeout) as late:
            await pool.send(request(), Timeouts(first_byte_ms=50, idle_ms=LONG))
        assert late.value.which == "first_byte"


async def test_a_body_that_stops_coming_is_idle(open_pool: OpenPool) -> None:
    """What came is handed out; then the iteration raises."""

    async def script(wire: Wire) -> None:
        await wire.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")
        await wire.wait_hung_up()

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        response = await pool.send(request(), Timeouts(idle_ms=30))
        assert await anext(response) == b"short"
        with pytest.raises(UpstreamTimeout) as late:
            await anext(response)
        assert late.value.which == "idle"
        await until(upstream.wires[0].hung_up)
        assert pool.stats.slots == 0


async def test_every_piece_of_body_sets_idle_back(open_pool: OpenPool, clock: FakeClock) -> None:
    """An upstream that keeps sending is not idle, however long it takes, up to the total."""
    go_on = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        for _ in range(4):
            await go_on.wait()
            go_on.clear()
            await wire.send(b"1\r\na\r\n")
        await wire.wait_hung_up()

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream, clock=clock)
        response = await pool.send(request(), Timeouts(idle_ms=10_000, total_ms=45_000))
        for _ in range(4):
            assert await anext(response) == b"a"
            clock.now += 9
            _ring(pool)
            go_on.set()
        assert await anext(response) == b"a"
        clock.now += 9.1
        _ring(pool)
        with pytest.raises(UpstreamTimeout) as late:
            await anext(response)
        assert late.value.which == "total"


async def test_a_slow_client_is_not_an_idle_upstream(open_pool: OpenPool, clock: FakeClock) -> None:
    """While nothing is read because nothing is taken, idle stands still; afterwards it begins anew."""

    async def script(wire: Wire) -> None:
        await wire.answer(BIG, b"x" * 4_000_000)
        await serve_ok(wire)

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream, clock=clock)
        response = await pool.send(request(), Timeouts(idle_ms=1_000, total_ms=60_000))
        for _ in range(4):
            await _read_until_paused(pool, response)
            clock.now += 10
            _ring(pool)
            assert len(await anext(response)) > 0
        assert len(await read(response)) > 0
        assert await ask(pool) == (200, b"ok")
        assert len(upstream.wires) == 1


async def test_a_slow_client_is_bounded_by_the_total(open_pool: OpenPool, clock: FakeClock) -> None:
    """A client that never takes its response does not hold a connection for ever."""

    async def script(wire: Wire) -> None:
        await wire.answer(BIG, b"x" * 4_000_000)

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream, clock=clock)
        response = await pool.send(request(), Timeouts(idle_ms=1_000, total_ms=60_000))
        await _read_until_paused(pool, response)
        clock.now += 60.1
        _ring(pool)
        assert len(await anext(response)) > 0
        with pytest.raises(UpstreamTimeout) as late:
            await read(response)
        assert late.value.which == "total"
        assert pool.stats.slots == 0


async def test_a_response_that_stays_paused_by_taking_then_idles(
    open_pool: OpenPool, clock: FakeClock
) -> None:
    """Once we read again, an upstream that has nothing more to send is idle."""

    async def script(wire: Wire) -> None:
        await wire.answer(BIG, b"x" * 200_000)
        await wire.wait_hung_up()

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream, clock=clock)
        response = await pool.send(request(), Timeouts(idle_ms=1_000, total_ms=60_000))
        taken = 0
        while taken < 200_000:
            taken += len(await anext(response))
        clock.now += 1.1
        _ring(pool)
        with pytest.raises(UpstreamTimeout) as late:
            await anext(response)
        assert late.value.which == "idle"


async def test_an_upstream_that_takes_no_body_is_idle(open_pool: OpenPool) -> None:
    """Its window is full, and it is its turn."""

    async def script(wire: Wire) -> None:
        await wire.read_head()
        await asyncio.Event().wait()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65_536

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        with pytest.raises(UpstreamTimeout) as late:
            await pool.send(request(b"POST", endless()), Timeouts(idle_ms=100, first_byte_ms=LONG))
        assert late.value.which == "idle"
        assert pool.stats.slots == 0


async def test_an_upstream_that_takes_the_body_again_is_idle_no_more(
    open_pool: OpenPool, clock: FakeClock
) -> None:
    """Its turn is over as soon as there is room; then it is the client's."""
    read_on = asyncio.Event()
    full = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.read_head()
        await read_on.wait()
        await wire.wait_hung_up()

    async def much_then_nothing() -> AsyncIterator[bytes]:
        while not full.is_set():
            yield b"x" * 65_536
        await asyncio.Event().wait()

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream, clock=clock)
        timeouts = Timeouts(idle_ms=1_000, total_ms=60_000)
        sending = asyncio.create_task(pool.send(request(b"POST", much_then_nothing()), timeouts))
        await until_true(lambda: pool._open and next(iter(pool._open))._drained)
        full.set()
        read_on.set()
        await until_true(lambda: next(iter(pool._open))._drained is None)
        clock.now += 1.1
        _ring(pool)
        assert not sending.done()
        clock.now += 59
        _ring(pool)
        with pytest.raises(UpstreamTimeout) as late:
            await sending
        assert late.value.which == "total"


async def test_a_client_slow_with_its_body_is_nobodys_fault_but_bounded(
    open_pool: OpenPool, clock: FakeClock
) -> None:
    """Neither first_byte nor idle runs while the next piece of the request is awaited; total does."""
    waiting = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"first"
        waiting.set()
        await asyncio.Event().wait()

    async with hostile_upstream(_silent) as upstream:
        pool = open_pool(upstream, clock=clock)
        timeouts = Timeouts(first_byte_ms=1_000, idle_ms=1_000, total_ms=60_000)
        sending = asyncio.create_task(pool.send(request(b"POST", slow()), timeouts))
        await until(waiting)
        clock.now += 59
        _ring(pool)
        assert not sending.done()
        clock.now += 1.1
        _ring(pool)
        with pytest.raises(UpstreamTimeout) as late:
            await sending
        assert late.value.which == "total"


async def test_first_byte_begins_when_the_body_has_been_handed_over(
    open_pool: OpenPool, clock: FakeClock
) -> None:
    """An upload that took long leaves the upstream its whole time to answer."""
    sent = asyncio.Event()
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"first"
        await go_on.wait()
        yield b"last"
        sent.set()

    async with hostile_upstream(_silent) as upstream:
        pool = open_pool(upstream, clock=clock)
        timeouts = Timeouts(first_byte_ms=1_000, total_ms=60_000)
        sending = asyncio.create_task(pool.send(request(b"POST", slow()), timeouts))
        await asyncio.sleep(0)
        clock.now += 30
        go_on.set()
        await until(sent)
        await until_true(lambda: not next(iter(pool._open)).wants_more())
        clock.now += 0.9
        _ring(pool)
        assert not sending.done()
        clock.now += 0.2
        _ring(pool)
        with pytest.raises(UpstreamTimeout) as late:
            await sending
        assert late.value.which == "first_byte"


async def test_a_repetition_stays_within_the_total(open_pool: OpenPool, clock: FakeClock) -> None:
    """The second attempt gets what the first has left of it."""

    async def script(wire: Wire) -> None:
        if wire.number == 1:
            await wire.answer()
            await wire.read_request()
            clock.now += 3
            return
        await wire.wait_hung_up()

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream, clock=clock)
        await ask(pool)
        timeouts = Timeouts(connect_ms=LONG, first_byte_ms=LONG, total_ms=3_050)
        sending = asyncio.create_task(pool.send(request(), timeouts))
        await until_true(lambda: len(upstream.wires) >= 2)
        clock.now += 1
        with pytest.raises(UpstreamTimeout) as late:
            await sending
        assert late.value.which == "total"


async def test_a_request_that_went_well_leaves_no_deadline_behind(
    open_pool: OpenPool, clock: FakeClock
) -> None:
    """The timer that was armed for it rings on an idle connection, and does nothing."""
    async with hostile_upstream(serve_ok) as upstream:
        pool = open_pool(upstream, clock=clock, keep_alive_ms=30_000)
        await ask(pool)
        clock.now += 29
        _ring(pool)
        assert await ask(pool) == (200, b"ok")
        clock.now += 29
        _ring(pool)
        assert pool.stats.idle == 1
        clock.now += 2
        _ring(pool)
        assert (pool.stats.idle, len(upstream.wires)) == (1, 1)
