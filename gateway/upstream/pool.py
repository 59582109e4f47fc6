"""The connections to one upstream: the ordinary way to send it a request, and the one for every other case.

Invariant: at most `max_connections` slots, each one connection or one attempt to make one; a slot is held by
exactly one of: the idle list, a request, a response that is still being read. The last used idle connection
is used first, so that the others can age and go. Waiting is in order, and bounded.

A request is repeated once, on a fresh connection, only if its method is safe, its body small and whole, the
connection had served before, and nothing at all came back. Any other request may have been acted on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import compiled
from gateway.upstream import plain_response, sending
from gateway.upstream.dialling import dial
from gateway.upstream.errors import ConnectionWasStale, UpstreamUnreachable
from gateway.upstream.line import Line
from gateway.upstream.response import READ_SIZE, UpstreamResponse
from gateway.upstream.timeouts import Clock
from gateway.upstream.values import OutboundRequest, PoolStats, ResponseLimits, Timeouts, UpstreamTarget
from gateway.upstream.wire import Connection

if compiled.IS_USED:
    from compiled.exchanges import Stock
    from gateway.upstream.wire import CompiledConnection

_SAFE_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})


class UpstreamPool:
    def __init__(
        self,
        target: UpstreamTarget,
        clock: Clock = time.monotonic,
        limits: ResponseLimits | None = None,
        *,
        is_compiled: bool = compiled.IS_USED,
    ) -> None:
        self.target = target
        self.authority = target.authority
        self._clock = clock
        self._limits = limits or ResponseLimits()
        self._plain = plain_response.reader(self._limits)
        self._buffer = memoryview(bytearray(READ_SIZE))
        self._slots = 0
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        # None stands for a free slot: whoever gets it opens a connection.
        self._line: Line[Connection | None] = Line(target.max_waiting, self._give_back)
        self._keep_alive_s = target.keep_alive_ms / 1000
        self._closing = False
        self._emptied: asyncio.Future[None] | None = None
        # The ordinary way: asks at once, and whoever waits for the answer needs no coroutine of the pool's. None if
        # the body is streamed or no connection stands ready: only `send` can help then. Otherwise `arrived` is to be
        # awaited, and whatever that raises goes to `recover`.
        self.ask: Callable[[OutboundRequest, Timeouts], UpstreamResponse | None] = self._ask
        # Told by a connection of an exchange that is over, whose response had begun.
        self.release: Callable[[Connection], None] = self._release
        self._connection: type[Connection] = Connection
        if is_compiled:
            stock: Stock[Connection, UpstreamResponse] = Stock(
                self._idle, self._line, self._keep_alive_s, clock, self._retire
            )
            self.ask, self.release, self._connection = stock.ask, stock.release, CompiledConnection

    def _ask(self, request: OutboundRequest, timeouts: Timeouts) -> UpstreamResponse | None:
        idle = self._idle
        # One that is not ready any more is left for `send` to clear away.
        if not idle or request.rest is not None or not idle[-1].is_ready():
            return None
        now = self._clock()
        return idle.pop().ask(request, timeouts, now, now + timeouts.total_s)

    async def send(self, request: OutboundRequest, timeouts: Timeouts) -> UpstreamResponse:
        """Any way. Returns with the response's head, the body still coming.

        Raises `UpstreamError`, or what the request's own body raised.
        """
        now = self._clock()
        total_at = now + timeouts.total_s
        connection = self._find_idle()
        if connection is None:
            connection = await self._obtain(now + timeouts.connect_s, total_at)
            now = self._clock()
        response = connection.ask(request, timeouts, now, total_at)
        try:
            if request.rest is None:
                await response.arrived
            else:
                await _send_and_wait(connection, request.rest, request.length, response)
        except BaseException as error:  # noqa: BLE001  it is raised again, unless the request is repeated
            return await self.recover(response, request, timeouts, error)
        return response

    async def recover(
        self,
        response: UpstreamResponse,
        request: OutboundRequest,
        timeouts: Timeouts,
        error: BaseException,
    ) -> UpstreamResponse:
        """Ends an exchange that raised `error`. Raises it again, unless the request may be repeated.

        What is raised leaves the slot free, or to the response if that has begun.
        """
        source = response.source
        source.abandon(response)
        if not _may_repeat(request, error):
            if not response.has_begun:
                self._free_slot()
            raise error
        connection = await self._dial(self._clock() + timeouts.connect_s, source.total_at)
        again = connection.ask(request, timeouts, self._clock(), source.total_at)
        try:
            await again.arrived
        except BaseException as last:  # noqa: BLE001  it is raised again
            # A fresh connection cannot have been stale, so this time is the last.
            return await self.recover(again, request, timeouts, last)
        return again

    async def aclose(self) -> None:
        """Ends everything at once, and returns when the last socket is closed. Drain before, if need be."""
        self._closing = True
        self._line.refuse_all(UpstreamUnreachable("closed"))
        while self._idle:
            self._idle.pop().close()
            self._slots -= 1
        for connection in tuple(self._open):
            connection.fail(UpstreamUnreachable("closed"))
        if self._slots or self._open:
            self._emptied = self._emptied or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._emptied)

    @property
    def stats(self) -> PoolStats:
        return PoolStats(
            slots=self._slots, idle=len(self._idle), open=len(self._open), waiting=len(self._line)
        )

    def _find_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_ready():
                return connection
            connection.close()
            self._slots -= 1
        return None

    async def _obtain(self, connect_by: float, total_at: float) -> Connection:
        self._require_open()
        if self._slots < self.target.max_connections:
            self._slots += 1
            return await self._dial(connect_by, total_at)
        connection = await self._line.wait(min(connect_by, total_at) - self._clock())
        if connection is not None and connection.is_ready():
            return connection
        if connection is not None:
            connection.close()
        return await self._dial(connect_by, total_at)

    async def _dial(self, connect_by: float, total_at: float) -> Connection:
        """Takes over a slot, and frees it unless it returns."""
        seconds = min(connect_by, total_at) - self._clock()
        loop = asyncio.get_running_loop()
        connection = self._connection(self, loop, self._clock, self._limits, self._plain, self._buffer)
        try:
            self._require_open()
            await dial(connection, self.target, seconds, "connect" if connect_by <= total_at else "total")
            self._require_open()
        except BaseException:
            connection.close()
            # uvloop, when cancelled just after it was made, closes it and never says so.
            self.lost(connection)
            self._free_slot()
            raise
        return connection

    def _require_open(self) -> None:
        if self._closing:
            raise UpstreamUnreachable("closed")

    # What a connection tells.

    def opened(self, connection: Connection) -> None:
        self._open.add(connection)

    def _release(self, connection: Connection) -> None:
        """It goes to whoever waits longest, or back to the idle ones; its slot does, if it serves no more."""
        if not connection.reusable:
            self._retire(connection)
            return
        connection.deadlines.await_next(self._clock() + self._keep_alive_s)
        # Nearly always nobody waits.
        if not (self._line.waiting and self._line.hand_over(connection)):
            self._idle.append(connection)

    def _retire(self, connection: Connection) -> None:
        connection.close()
        self._free_slot()

    def lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
            self._free_slot()
        self._note_emptied()

    def _give_back(self, connection: Connection | None) -> None:
        """A slot, with a connection in it or none."""
        if connection is None:
            self._free_slot()
        else:
            self.release(connection)

    def _free_slot(self) -> None:
        if not self._line.hand_over(None):
            self._slots -= 1
            self._note_emptied()

    def _note_emptied(self) -> None:
        if self._emptied is not None and not self._emptied.done() and not self._slots and not self._open:
            self._emptied.set_result(None)


def _may_repeat(request: OutboundRequest, error: BaseException) -> bool:
    is_small = request.rest is None
    return is_small and request.method in _SAFE_METHODS and isinstance(error, ConnectionWasStale)


async def _send_and_wait(
    connection: Connection, body: AsyncIterator[bytes], length: int | None, response: UpstreamResponse
) -> None:
    """The body goes up beside the wait, because the answer may come first."""
    sender = asyncio.get_running_loop().create_task(sending.send_body(connection, body, length))
    try:
        await response.arrived
    finally:
        await sending.stop(sender)
