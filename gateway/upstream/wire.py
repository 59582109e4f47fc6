"""One connection to an upstream: one exchange at a time, from the first byte asked to the last one answered.

Invariant: it serves another exchange only after one that ended beyond doubt: the whole request sent, the
whole response read, not a byte more, and both sides willing. A byte that comes unasked closes it.
Until the head of a response has come, whoever called `ask` answers for the connection's slot in the pool;
from then on the connection gives itself back by `Owner.release`, once, whatever happens.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from typing import ClassVar, Protocol, cast

import compiled
from gateway.upstream.errors import (
    ConnectionWasStale,
    UpstreamBroken,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway.upstream.parsing import ResponseParser
from gateway.upstream.plain_response import LONGEST_PLAIN, PlainReader
from gateway.upstream.response import UpstreamResponse
from gateway.upstream.timeouts import Awaited, Clock, Deadlines
from gateway.upstream.values import OutboundRequest, ResponseLimits, Timeouts
from gateway.waits import waits_of

if compiled.IS_USED:
    from compiled.exchanges import Exchanges
    from gateway.upstream.plain_response import TaughtReader
    from gateway.upstream.timeouts import CompiledDeadlines


class Owner(Protocol):
    def opened(self, connection: Connection) -> None: ...

    def release(self, connection: Connection) -> None:
        """An exchange is over whose response had begun."""

    def lost(self, connection: Connection) -> None:
        """The socket is closed."""


class Connection(asyncio.BufferedProtocol):
    _transport: asyncio.Transport
    _deadlines: ClassVar[type[Deadlines]] = Deadlines

    def __init__(  # noqa: PLR0913, PLR0917  the pool makes it, of what its connections share
        self,
        owner: Owner,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        limits: ResponseLimits,
        plain: PlainReader,
        buffer: memoryview,
    ) -> None:
        """`buffer` may serve many connections: what is read into it is taken in before the loop reads again."""
        self._owner = owner
        self._read_plain = plain.read
        self._buffer = buffer
        self._loop = loop
        self._wait = waits_of(loop)
        self.deadlines = self._deadlines(loop, clock, self.deadline_passed)
        self._parser = ResponseParser(limits)
        self._poll = select.poll()
        self._response: UpstreamResponse | None = None
        self._drained: asyncio.Future[None] | None = None
        self._is_made = False
        self._descriptor = -1
        # Whether anything of the response has come that is not taken in yet. If not, the parser knows nothing of it.
        self._heard = False
        self._sending = False
        self._paused = False
        self._served = False
        self._saw_eof = False
        self.is_lost = False
        self.reusable = True

    # For the pool.

    def is_ready(self) -> bool:
        """Whether nothing has happened on it since its last response, the loop's unread events included.

        The look at the socket sees bytes and closes that the loop has not delivered yet. It spares unsafe
        requests a connection that is dead already, and the next request the tail of the last answer.
        """
        return self.reusable and not self._transport.is_closing() and not self._poll.poll(0)

    def ask(
        self, request: OutboundRequest, timeouts: Timeouts, now: float, total_at: float
    ) -> UpstreamResponse:
        """Writes what goes in one piece. `request.rest` is for `sending.send_body`, with this as its sink."""
        response = self._response = UpstreamResponse(self, self._wait(), request.head_only)
        self.deadlines.begin(timeouts, now, total_at)
        if request.rest is not None:
            self._sending = True
            self.deadlines.await_caller()
        self._transport.write(request.first)
        return response

    def fail(self, error: BaseException) -> None:
        response, self._response = self._response, None
        self.close()
        if response is not None:
            if response.has_begun:
                self._owner.release(self)
            response.fail(error)

    def close(self) -> None:
        """At once: nothing is left to send that the upstream would have to see."""
        self.reusable = False
        self._stop_sending()
        if self._is_made:
            self._transport.abort()

    # For the response.

    @property
    def total_at(self) -> float:
        return self.deadlines.total_at

    def resume_body(self, response: UpstreamResponse) -> None:
        if response is self._response and self._paused:
            self._resume_reading()
            self.deadlines.await_progress()

    def abandon(self, response: UpstreamResponse) -> None:
        if response is self._response:
            self.fail(UpstreamBroken("abandoned"))

    # For the body being sent.

    def wants_more(self) -> bool:
        return self._sending

    def write(self, piece: bytes) -> None:
        self._transport.write(piece)

    async def drain(self) -> None:
        if self._drained is not None:
            await self._drained

    def sent_all(self) -> None:
        if self._sending:
            self._sending = False
            self.deadlines.await_head()

    def fail_sending(self, error: Exception) -> None:
        if self._sending:
            self.fail(error)

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._is_made = True
        self._descriptor = transport.get_extra_info("socket").fileno()
        self._poll.register(self._descriptor, select.POLLIN)
        self._owner.opened(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  the loop's idea of a size, not ours
        return self._buffer

    def buffer_updated(self, size: int) -> None:
        response = self._response
        if response is None:
            self.close()
        elif (
            self._heard
            or self._sending
            or size > LONGEST_PLAIN
            or not self._read_plain(bytes(self._buffer[:size]), response)
        ):
            self._parse(self._buffer[:size], response)
        else:
            self._finish(response)

    def _parse(self, received: memoryview, response: UpstreamResponse) -> None:
        parser = self._parser
        if not self._heard:
            self._heard = True
            parser.expect(head_only=response.head_only)
        try:
            parser.feed(received)
        except UpstreamBroken as error:
            # What came before the break is handed out.
            self._hand_on(response)
            self.fail(error)
            return
        self._hand_on(response)
        if parser.complete:
            self.reusable = self.reusable and parser.may_go_on
            self._finish_parsed(response)
        elif response.has_begun:
            self._await_more(response)
            response.wake()

    def _hand_on(self, response: UpstreamResponse) -> None:
        """What the last read brought of head and body."""
        parser = self._parser
        if parser.head is not None:
            if not response.has_begun:
                response.begin(parser.head)
            if self._sending:
                self._give_up_sending()
        if parser.pieces:
            response.push(parser.take_pieces())

    def _await_more(self, response: UpstreamResponse) -> None:
        if response.is_full():
            self._paused = True
            self._transport.pause_reading()
            self.deadlines.await_caller()
        else:
            self.deadlines.await_progress()

    def eof_received(self) -> None:
        self._saw_eof = True

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        self.reusable = False
        self._stop_sending()
        self.deadlines.cancel()
        self._parser.close()
        self._owner.lost(self)
        response = self._response
        if response is None:
            return
        head = self._parser.head
        # Only an orderly close ends a body; over TLS that is one that the upstream has signed off, as far as
        # the loop can tell: uvloop can, the standard loop takes every close for an orderly one.
        orderly = error is None and self._saw_eof
        if response.has_begun and head is not None and head.ends == "at close" and orderly:
            self._finish_parsed(response)
        else:
            failure = self._why_lost(error)
            failure.__cause__ = error
            self.fail(failure)

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()
        if self._sending:
            self.deadlines.await_progress()

    def resume_writing(self) -> None:
        self._wake_sender()
        if self._sending:
            self.deadlines.await_caller()

    def deadline_passed(self, which: Awaited) -> None:
        if which == "keep_alive":
            self.close()
        else:
            self.fail(UpstreamTimeout(which))

    def _finish_parsed(self, response: UpstreamResponse) -> None:
        self._heard = False
        if self._paused:
            self._resume_reading()
        response.end()
        self._finish(response)

    def _finish(self, response: UpstreamResponse) -> None:
        self._response = None
        self._served = True
        # An answer that came before the last byte of a small request had left is an early answer too.
        if self._transport.get_write_buffer_size():
            self.reusable = False
        self._owner.release(self)
        # As `wake` does it; every response comes here, and a call would cost as much again.
        arrived = response.arrived
        if not arrived.done():
            arrived.set_result(None)

    def _give_up_sending(self) -> None:
        """An early answer: the rest of the request would only be in the way, and without it the upstream may take
        the next request for a body.
        """
        self._stop_sending()
        self.reusable = False

    def _resume_reading(self) -> None:
        self._paused = False
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _stop_sending(self) -> None:
        self._sending = False
        self._wake_sender()

    def _wake_sender(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def _why_lost(self, error: Exception | None) -> UpstreamError:
        if self._heard:
            return UpstreamBroken("truncated")
        if isinstance(error, ssl.SSLError):
            return UpstreamUnreachable("tls")
        return ConnectionWasStale() if self._served else UpstreamBroken("closed_early")


if compiled.IS_USED:

    class CompiledConnection(Exchanges, Connection):
        """The ordinary exchange goes by in C. Whatever else comes is taken in as without that, from its first byte."""

        _deadlines = CompiledDeadlines

        def __init__(  # noqa: PLR0913, PLR0917  as above
            self,
            owner: Owner,
            loop: asyncio.AbstractEventLoop,
            clock: Clock,
            limits: ResponseLimits,
            plain: TaughtReader,
            buffer: memoryview,
        ) -> None:
            super().__init__(owner, loop, clock, limits, plain, buffer)
            self._read_plain = plain.read_untaught
            received = cast("bytearray", buffer.obj)
            self.prepare(UpstreamResponse, plain.read_taught, received, buffer, LONGEST_PLAIN)

        take_in = Connection.buffer_updated
