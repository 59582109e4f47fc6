"""One connection made by redis-py, used for nothing but admissions; where the library's errors become ours.

The library connects (address, TLS, Sentinel, greeting, password, database). Then its transport is taken over: a
command is written to it and the replies come back by a call, without the streams and tasks in between.

Invariant: a connection on which anything at all went wrong (a timeout, an abandoned exchange, an error, an answer
nobody asked for) is closed before another is asked, so that a late reply dies with it and never answers another
request. Nothing is retried here: what may have been executed stays uncertain, and is refused above.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, RedisError
from redis.maint_notifications import MaintNotificationsConfig

from auth.admission import OutageReason
from auth.admission.lane import Unavailable

# The replies to what was sent, an error reply of the server among them as a value.
Deliver = Callable[[list[object]], None]
Fail = Callable[[OutageReason], None]

_INCOMPLETE = object()


class Link:
    """Built from the class and arguments with which a redis-py pool makes its own connections."""

    def __init__(
        self, connection_class: type[AbstractConnection], arguments: Mapping[str, Any], timeout_s: float
    ) -> None:
        self._connection_class = connection_class
        # Whoever asks here bounds the whole of it, so the library's own retries, which back off for longer than
        # that, and its timer for every read are switched off.
        self._arguments = {
            **arguments,
            "retry": Retry(NoBackoff(), 0),
            "retry_on_timeout": False,
            "retry_on_error": [],
            "socket_timeout": None,
            "socket_connect_timeout": timeout_s,
            "health_check_interval": 0,
            "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        }
        self._line: _Line | None = None
        # The one that somebody waits for, and those that were dropped and are still ending.
        self._opening: asyncio.Task[None] | None = None
        self._openings: set[asyncio.Task[None]] = set()

    def send(self, commands: bytes, replies: int, deliver: Deliver, fail: Fail) -> None:
        """Send packed commands, one at a time, connecting first where need be. Ends in one call of `deliver` or
        `fail`, unless `drop` is called before.
        """
        line = self._line
        if line is not None and line.is_open:
            line.send(commands, replies, deliver, fail)
            return
        opening = asyncio.get_running_loop().create_task(self._open(commands, replies, deliver, fail))
        self._opening = opening
        self._openings.add(opening)
        opening.add_done_callback(self._openings.discard)

    async def exchange(self, commands: bytes, replies: int) -> list[object]:
        """The same for who can wait; raises `Unavailable`."""
        answer: asyncio.Future[list[object]] = asyncio.get_running_loop().create_future()

        def deliver(received: list[object]) -> None:
            if not answer.done():
                answer.set_result(received)

        def fail(reason: OutageReason) -> None:
            if not answer.done():
                answer.set_exception(Unavailable(reason))

        self.send(commands, replies, deliver, fail)
        return await answer

    def drop(self) -> None:
        """Close the connection without waiting for the peer; the next to send opens another."""
        self._opening = None
        for opening in self._openings:
            opening.cancel()
        if self._line is not None:
            self._line.close()
            self._line = None

    async def aclose(self) -> None:
        self.drop()
        if self._openings:
            await asyncio.wait(self._openings)

    async def _open(self, commands: bytes, replies: int, deliver: Deliver, fail: Fail) -> None:
        # A new one each time: what is left of an earlier one, still closing, is not in the way.
        connection = self._connection_class(**self._arguments)
        failure: OutageReason | None = None
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py leaves it bare
            if await connection.can_read():
                # What is left over from the greeting would be taken for an answer.
                failure = "refused"
        except (RedisError, OSError):
            failure = "unreachable"
        except Exception:  # noqa: BLE001  what the library does with a peer that speaks no Redis is not its own
            failure = "refused"
        except BaseException:
            _close(connection)
            raise
        if self._opening is not asyncio.current_task():
            # Dropped, and the library took that for a failure of its own: nobody waits for this one any more.
            _close(connection)
        elif failure is not None:
            _close(connection)
            fail(failure)
        else:
            self._take_over(connection, commands, replies, deliver, fail)

    def _take_over(
        self, connection: AbstractConnection, commands: bytes, replies: int, deliver: Deliver, fail: Fail
    ) -> None:
        try:
            self._line = _Line(connection)
        except Exception:  # noqa: BLE001  another version of the library may have another inside
            _close(connection)
            fail("refused")
        else:
            self._line.send(commands, replies, deliver, fail)


class _Line(asyncio.Protocol):
    """A connected connection's transport, with one exchange at a time on it."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        # What the library offers of a connection is coroutines; underneath is an ordinary transport.
        writer = connection._writer  # noqa: SLF001
        if writer is None:
            raise TypeError("this connection is not connected")
        self._transport = writer.transport
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=connection._parser.parse_error,  # noqa: SLF001  the library's types of error replies
            notEnoughData=_INCOMPLETE,
        )
        self._deliver: Deliver | None = None
        self._fail: Fail | None = None
        self._expected = 0
        self._replies: list[object] = []
        self.is_open = True
        self._transport.set_protocol(self)

    def send(self, commands: bytes, replies: int, deliver: Deliver, fail: Fail) -> None:
        self._deliver, self._fail = deliver, fail
        self._expected = replies
        self._replies = []
        self._transport.write(commands)

    def close(self) -> None:
        """Whoever waits for replies hears nothing any more."""
        self.is_open = False
        self._deliver = self._fail = None
        _close(self._connection)
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        deliver, reader, replies = self._deliver, self._reader, self._replies
        if deliver is None:
            # Bytes that came unasked belong to no request.
            self.close()
            return
        try:
            reader.feed(data)
            while True:
                reply = reader.gets()
                if reply is _INCOMPLETE:
                    return
                replies.append(reply)
                if len(replies) == self._expected:
                    break
            surplus = reader.has_data()
        except Exception:  # noqa: BLE001  what is no Redis protocol makes the parser raise more than its own
            self._break_off("refused")
            return
        self._deliver = None
        if surplus:
            self.close()
        deliver(replies)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  as the loop calls it
        self._break_off("unreachable")

    def _break_off(self, reason: OutageReason) -> None:
        fail = None if self._deliver is None else self._fail
        self.close()
        if fail is not None:
            fail(reason)


def _close(connection: AbstractConnection) -> None:
    # At once: the library's own way out is a coroutine.
    connection._close()  # type: ignore[no-untyped-call]  # noqa: SLF001  redis-py leaves it bare
