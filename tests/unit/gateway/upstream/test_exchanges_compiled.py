"""The compiled exchange against its twin: whatever is asked, comes, or is lost, both end in the same state."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

import compiled
from gateway.upstream import OutboundRequest, Timeouts, UpstreamPool, UpstreamResponse, UpstreamTarget
from gateway.upstream.wire import Connection
from tests.support.compiled import needs_the_room
from tests.support.upstream_leg import FakeClock

if compiled.IS_USED:
    from compiled.exchanges import Exchanges

pytestmark = needs_the_room

TARGET = UpstreamTarget("orders", "http", "127.0.0.1", 1, max_connections=1, keep_alive_ms=2_000)
# As long as each other, as long as all, and one that is over before the head may be.
TIMEOUTS = (Timeouts(), Timeouts(first_byte_ms=50, total_ms=50), Timeouts(first_byte_ms=900, total_ms=200))
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ndate: now\r\nX-A: b \r\n\r\nok"
ANSWERS = (
    OK,
    OK + b"!",
    OK[:-1],
    OK.replace(b"200 OK", b"404 Not Found"),
    OK.replace(b": 2", b": 02"),
    OK.replace(b": 2", b": 1"),
    OK.replace(b"X-A", b"connection").replace(b"b ", b"close"),
    OK.replace(b"X-A", b"connection").replace(b"b ", b"keep-alive"),
    OK.replace(b"X-A: b ", b"x: \r\n y"),
    OK.replace(b"X-A: b ", b"x: \0"),
    OK.replace(b"X-A", b"location"),
    OK.replace(b"ok", b"o" * 20_000).replace(b": 2", b": 20000"),
    b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"no answer at all",
)


async def _slow_body() -> Any:  # noqa: ANN401
    yield b"never asked for here"


class Transport:
    """Writes down what it is told. What its socket has to say, the other end says."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.left = 0
        self.is_closed = False
        self.ours, self.theirs = socket.socketpair()

    def get_extra_info(self, _: str) -> socket.socket:
        return self.ours

    def write(self, piece: bytes) -> None:
        self.told.append(piece)

    def get_write_buffer_size(self) -> int:
        return self.left

    def is_closing(self) -> bool:
        return self.is_closed

    def abort(self) -> None:
        self.is_closed = True
        self.told.append("abort")

    def pause_reading(self) -> None:
        self.told.append("pause")

    def resume_reading(self) -> None:
        self.told.append("resume")


class Side:
    """A pool of one connection, compiled or not, and the response that was asked for last."""

    def __init__(self, clock: FakeClock, *, is_compiled: bool) -> None:
        self.clock = clock
        self.pool = UpstreamPool(TARGET, clock, is_compiled=is_compiled)
        self.response: UpstreamResponse | None = None
        self.renew()

    def renew(self) -> None:
        pool, self.transport = self.pool, Transport()
        # As `_dial` makes it.
        self.connection = pool._connection(
            pool, asyncio.get_running_loop(), self.clock, pool._limits, pool._plain, pool._buffer
        )
        self.connection.connection_made(cast("asyncio.Transport", self.transport))
        pool._slots = 1
        pool._idle.append(self.connection)

    def ask(self, request: OutboundRequest, timeouts: Timeouts) -> None:
        asked = self.pool.ask(request, timeouts)
        if asked is None and request.rest is not None and self.pool._idle:
            # What `send` does of a body that is streamed.
            now = self.clock()
            asked = self.pool._idle.pop().ask(request, timeouts, now, now + timeouts.total_s)
        self.response = asked or self.response

    def receive(self, piece: bytes) -> None:
        if not self.connection.is_lost:
            buffer = self.connection.get_buffer(-1)
            buffer[: len(piece)] = piece
            self.connection.buffer_updated(len(piece))

    def lose(self) -> None:
        if not self.connection.is_lost:
            self.connection.eof_received()
            self.connection.connection_lost(None)

    def shut(self) -> None:
        for each in (self.transport.ours, self.transport.theirs):
            each.close()
        self.connection.deadlines.cancel()

    def seen(self) -> list[object]:
        """All that anybody could tell of it."""
        connection, deadlines = self.connection, self.connection.deadlines
        state: list[object] = [
            connection.reusable,
            connection.is_lost,
            connection._heard,
            connection._sending,
            connection._served,
            connection._response is None,
            connection.is_ready(),
            deadlines._deadline,
            deadlines._which,
            deadlines._armed_for,
            deadlines.total_at,
            self.pool.stats,
            self.transport.told[:],
        ]
        response = self.response
        if response is None:
            return state
        arrived = response.arrived
        return [
            *state,
            response.status,
            response.lines,
            response.locations,
            response.content_length,
            response.whole,
            response.dated,
            response._chunks[:],
            arrived.done(),
            arrived.done() and repr(arrived.exception()),
        ]


@contextmanager
def both_sides(clock: FakeClock) -> Iterator[tuple[Side, Side]]:
    sides = (Side(clock, is_compiled=False), Side(clock, is_compiled=True))
    try:
        yield sides
    finally:
        for each in sides:
            each.shut()


def _step(chance: random.Random, clock: FakeClock, sides: tuple[Side, Side]) -> None:
    what = chance.random()
    answer = chance.choice(ANSWERS) if chance.random() < 0.6 else OK
    cut = chance.randrange(1, len(answer)) if chance.random() < 0.2 else len(answer)
    method = chance.choice((b"GET", b"GET", b"HEAD"))
    is_streamed, timeouts, byte = chance.random() < 0.1, chance.choice(TIMEOUTS), chance.random() < 0.5
    clock.now += chance.choice((0.0, 0.001, 0.3))
    for side in sides:
        if what < 0.45:
            rest = _slow_body() if is_streamed else None
            side.ask(OutboundRequest(method, b"asked", method == b"HEAD", rest), timeouts)
        elif what < 0.85:
            side.receive(answer[:cut])
        elif what < 0.89:
            side.transport.left = 0 if side.transport.left else 7
        elif what < 0.92:
            side.lose()
        elif what < 0.94 and byte:
            side.transport.theirs.send(b"!")
        elif what < 0.94:
            side.transport.is_closed = True
        elif side.connection.is_lost or not side.connection.reusable:
            side.lose()
            side.shut()
            side.renew()


@pytest.mark.parametrize("seed", range(40))
async def test_both_go_through_the_same(seed: int) -> None:
    """Requests, answers and spoilt ones, in pieces and unasked, with bytes left to write and sockets that close."""
    chance, clock = random.Random(seed), FakeClock()
    came_whole = 0
    with both_sides(clock) as sides:
        for _ in range(250):
            _step(chance, clock, sides)
            interpreted, as_compiled = (each.seen() for each in sides)
            assert as_compiled == interpreted
            response = sides[1].response
            came_whole += response is not None and bool(response.whole)
    assert came_whole > 5


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("sign", ["byte", "end", "closing", "not reusable"])
async def test_a_connection_with_a_sign_of_trouble_is_not_asked(sign: str, *, is_compiled: bool) -> None:
    """The loop may not have told of it yet: the socket itself is looked at before each request."""
    side = Side(FakeClock(), is_compiled=is_compiled)
    request = OutboundRequest(b"GET", b"asked", head_only=False)
    if sign == "byte":
        side.transport.theirs.send(b"!")
    elif sign == "end":
        side.transport.theirs.close()
    elif sign == "closing":
        side.transport.is_closed = True
    else:
        side.connection.reusable = False
    assert side.pool.ask(request, Timeouts()) is None
    assert side.transport.told == []
    side.shut()


@pytest.mark.parametrize("is_compiled", [False, True])
async def test_whoever_waits_goes_before_the_idle(*, is_compiled: bool) -> None:
    """A connection that is given back belongs to the first in line."""
    side = Side(FakeClock(), is_compiled=is_compiled)
    side.ask(OutboundRequest(b"GET", b"asked", head_only=False), Timeouts())
    waiting = asyncio.ensure_future(side.pool._line.wait(10))
    await asyncio.sleep(0)
    side.receive(OK)
    handed: Connection | None = await waiting
    assert handed is side.connection
    assert side.pool.stats.idle == 0
    side.shut()


@pytest.mark.parametrize("is_compiled", [False, True])
async def test_a_streamed_body_is_not_asked_for_in_the_ordinary_way(*, is_compiled: bool) -> None:
    """Nobody would send the rest of it."""
    side = Side(FakeClock(), is_compiled=is_compiled)
    request = OutboundRequest(b"POST", b"asked", head_only=False, rest=_slow_body())
    assert side.pool.ask(request, Timeouts()) is None
    assert side.pool.stats.idle == 1
    side.shut()


@pytest.mark.parametrize("is_compiled", [False, True])
async def test_an_answer_that_nobody_waits_for_any_more_disturbs_nobody(*, is_compiled: bool) -> None:
    """Whoever asked was cancelled a moment ago; the connection is given back as ever."""
    side = Side(FakeClock(), is_compiled=is_compiled)
    side.ask(OutboundRequest(b"GET", b"asked", head_only=False), Timeouts())
    assert side.response is not None
    side.response.arrived.cancel()
    for _ in range(2):
        # The first of its kind is taken in by the twin, and teaches.
        side.receive(OK)
        assert side.pool.stats.idle == 1
        side.ask(OutboundRequest(b"GET", b"asked", head_only=False), Timeouts())
        side.response.arrived.cancel()
    side.shut()


def test_what_was_not_prepared_cuts_nothing() -> None:
    """There is no memory yet to cut from, however little it is told of."""
    taken: list[int] = []

    class Unprepared(Exchanges):
        def take_in(self, size: int) -> None:
            taken.append(size)

    exchanges: Any = Unprepared()
    exchanges._response = UpstreamResponse(cast("Any", None), cast("Any", None))
    exchanges.buffer_updated(0)
    assert taken == [0]
