"""One connection to an upstream: one exchange at a time, from the request's first byte to the response's last.

Invariant: it serves another exchange only after one that ended beyond doubt: the whole request sent, the whole
response read, not a byte more, and both sides willing. A byte that comes when nothing was asked closes it.
Until the head of a response has come, the caller of `ask` answers for the connection's slot in the pool; from
then on the connection gives itself back by `Owner.release`, once, whatever happens.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from typing import Protocol, cast

from gateway.upstream.errors import (
    ConnectionWasStale,
    UpstreamBroken,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway.upstream.framing import Ends, ResponseHead
from gateway.upstream.parsing import ResponseParser
from gateway.upstream.request_head import Prepared
from gateway.upstream.response import UpstreamResponse
from gateway.upstream.timeouts import Awaited, Clock, Watch
from gateway.upstream.values import ResponseLimits, Timeouts


class Owner(Protocol):
    def opened(self, connection: Connection) -> None: ...

    def release(self, connection: Connection) -> None:
        """An exchange is over whose response had begun."""

    def lost(self, connection: Connection) -> None:
        """The socket is closed."""


class Connection(asyncio.Protocol):
    __slots__ = (
        "_clock",
        "_drained",
        "_idle_s",
        "_loop",
        "_owner",
        "_parser",
        "_poll",
        "_response",
        "_saw_eof",
        "_sending",
        "_served",
        "_total_at",
        "_transport",
        "_watch",
        "is_lost",
        "reusable",
    )

    _transport: asyncio.Transport

    def __init__(
        self, owner: Owner, loop: asyncio.AbstractEventLoop, clock: Clock, limits: ResponseLimits
    ) -> None:
        self._owner = owner
        self._loop = loop
        self._clock = clock
        self._parser = ResponseParser(self, limits)
        self._watch = Watch(loop, clock, self._deadline_passed)
        self._poll = select.poll()
        self._response: UpstreamResponse | None = None
        self._drained: asyncio.Future[None] | None = None
        self._sending = False
        self._served = False
        self._saw_eof = False
        self._idle_s = 0.0
        self._total_at = 0.0
        self.is_lost = False
        self.reusable = True

    # For the pool.

    def is_ready(self) -> bool:
        """Whether nothing has happened on it since the last response, the loop's unread events included.

        The look at the socket sees bytes and closes that the loop has not delivered yet. It spares unsafe
        requests a connection that is dead already, and a next request the tail of the last answer.
        """
        return self.reusable and not self._transport.is_closing() and not self._poll.poll(0)

    def ask(self, request: Prepared, timeouts: Timeouts, total_at: float) -> UpstreamResponse:
        """Writes what can be written at once. `request.rest` is for `sending.send_body`, with this as sink."""
        response = UpstreamResponse(self, self._loop)
        self._response = response
        self._idle_s = timeouts.idle_ms / 1000
        self._total_at = total_at
        self._parser.expect(head_only=request.head_only)
        self._sending = request.rest is not None
        self._first_byte_s = timeouts.first_byte_ms / 1000
        if self._sending:
            self._watch.expect(total_at, "total")
        else:
            self._expect_head()
        self._transport.write(request.first)
        return response

    def keep(self, until: float) -> None:
        self._watch.expect(until, "keep_alive")

    def close(self) -> None:
        """At once: nothing is left to send that the upstream would have to see."""
        self.reusable = False
        self._transport.abort()

    def fail(self, error: BaseException) -> None:
        response, self._response = self._response, None
        self.close()
        self._stop_sending()
        if response is None:
            return
        response.fail(error)
        if response.started:
            self._owner.release(self)

    # For the response.

    def resume_body(self) -> None:
        if self.reusable_reading():
            self._transport.resume_reading()
            self._expect_body()

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
        self._sending = False
        self._expect_head()

    def fail_sending(self, error: Exception) -> None:
        if self._sending:
            self.fail(error)
