"""The front line: uvicorn's httptools protocol, made strict.

Invariant: what reaches the application is one whole, well-framed HTTP/1.1 request whose head is bounded in
bytes, count and time, and whose target is the bytes that were sent. What is not is answered here or by the
edge with a problem, and its connection is closed: bytes of one request never become another.

It differs from uvicorn where uvicorn is lenient: no target is re-parsed or cut at a fragment, trailers never
join the headers, a bad byte behind a running answer never writes into that answer, an early answer lingers
so that the client can read it, and heads have a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.server.exchange import Exchange, Header, Serve, serve_asgi, written
from gateway.server.idle import IdleWatch
from gateway.server.limits import Drain, Limits
from gateway.server.plain_head import build_reader
from gateway.server.turns import TurnsOf, turns_of_a_server

# What the server needs to refuse by itself: code, detail, client → the status, headers and body to send.
Refuse = Callable[[str, str, str | None], tuple[int, list[Header], bytes]]


class StrictProtocol(HttpToolsProtocol):
    """One client connection; `strict_protocol` makes the subclass that carries one server's limits."""

    limits: Limits
    read_plain: Callable[[StrictProtocol, bytes], Exchange | None]
    refuse: Refuse
    turns_of: TurnsOf
    drain: Drain
    # Connections by the port they came in by: strangers at the partners' door do not close the control door.
    open_at: Counter[int | None]
    # What every answer carries unless it says it itself: the date, which the server sets anew each second.
    default_lines = b""
    # As `peer` found it: empty for none.
    certificate: bytes | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  uvicorn's arguments, passed on
        super().__init__(*args, **kwargs)
        self._door: int | None = None
        # The address at the other end, if it has one.
        self.peer = ""
        # Whether what is written leaves: it does not while the client reads too slowly, or once it has gone.
        self.takes_more = True
        # Nothing has come since the last answer ended, or since the connection was made; and it is listened to.
        self._at_rest = self._begun = False
        self._in_head = True
        self._head_bytes = 0
        # Whether the read in which this head began also held bytes of an earlier message.
        self._read_is_shared = False
        self._deadline: asyncio.TimerHandle | None = None
        self._deaf = False
        self._lingered = 0
        # Bytes since the body last grew: chunk extensions and trailers never show otherwise.
        self._silent_bytes = 0
        self._body_grew = False
        self._idle = IdleWatch(self.loop, self.timeout_keep_alive, self._idle_overdue)
        # The newest; and what is to be served once the read that it came in has been looked through.
        self.cycle: Any = None
        self._begins: Exchange | None = None
        self._turns = type(self).turns_of(self.loop, self.tasks)
        # Found here with every request, rather than with the class.
        self._read, self.drain = type(self).read_plain, type(self).drain

    # Connection ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._door = self.server[1] if self.server else None
        self.peer = self.client[0] if self.client else ""
        self.open_at[self._door] += 1
        if self.open_at[self._door] > 2 * self.limits.max_connections:
            # Telling them takes a connection too: past twice the bound nobody is told.
            transport.abort()
            return
        if self.open_at[self._door] > self.limits.max_connections:
            self._reject("overloaded", "This node holds as many connections as it may.")
            return
        self._at_rest = True
        self._idle.start()
        self._arm(self.limits.header_timeout_s, self._head_overdue)

    def pause_writing(self) -> None:
        self.takes_more = False
        super().pause_writing()

    def resume_writing(self) -> None:
        self.takes_more = True
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.takes_more = False
        self.open_at[self._door] -= 1
        self._disarm()
        self._idle.stop()
        self._turns.end()
        for cycle, _ in self.pipeline:
            cycle.disconnected = True
        self.pipeline.clear()
        super().connection_lost(exc)
        # Nothing here leaves a circle behind, with bodies in it for the collector to find.
        self.cycle = self._begins = None

    def eof_received(self) -> bool:  # type: ignore[override]  # annotated as None there
        """A client that has said all it will may still wait for its answer; one in mid-request may not."""
        if self._begun and not self._deaf:
            self._break("The request broke off.")
        elif self._is_answering():
            self._deaf = True
            self.cycle.keep_alive = False
        return self._is_answering() and self.scheme == "http"

    def _arm(self, seconds: float, callback: Callable[[], None]) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(seconds, callback)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _head_overdue(self) -> None:
        self._deadline = None
        if self._begun:
            self._break_head("malformed_request", "The request head did not arrive in time.")
        else:
            self.end()

    def _idle_overdue(self) -> None:
        # A connection that has had no answer yet has the deadline of a head instead.
        if self._at_rest and self._deadline is None:
            self.end()

    def _body_overdue(self) -> None:
        self._break("The request body did not arrive in time.")

    # Reading ---------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._at_rest:
            self._at_rest, read = False, self._read
            exchange = read(self, data)
            if exchange is not None:
                self.cycle = exchange
                self._deaf = not exchange.keep_alive  # then it is the last one, whatever comes behind it
                if self._deadline is not None:
                    self._disarm()
                self._turns.take(exchange)
                return
        if self._deaf:
            self._discard(len(data))
            return
        running = self.cycle
        self._parse(data)
        # Only now, because both may answer at once: what the rest of the read says of them has to be known before.
        if running is not None and (running.body or not running.more_body):
            running.wake()
        begins, self._begins = self._begins, None
        if begins is not None:
            self._turns.take(begins)

    def _parse(self, data: bytes) -> None:
        self._read_is_shared = not self._in_head
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # No protocol is switched to yet: the request is answered as it is, and nothing after it is read. The
            # parser has stopped in front of its body, so whoever asks for one is told that it is broken.
            if not self._deaf:
                self.cycle.broken = True
                self.cycle.keep_alive = False
            self._deaf = True
        except httptools.HttpParserError:
            self._break("The request is not well-formed HTTP/1.1.")
        else:
            if self._begun or not self._is_answering():
                self._watch(len(data))

    def _watch(self, arrived: int) -> None:
        """What is half arrived has a deadline, and a head a bound: slow and endless senders meet it here."""
        if self._deaf or self.pipeline:
            # While requests wait in line it is we who do not read: nobody is late.
            return
        if not self._in_head:
            self._watch_body(arrived)
            return
        if self._begun:
            # What came before a head in one read is not the head's; how much that is cannot be told.
            self._head_bytes += 0 if self._read_is_shared else arrived
            if self._head_bytes > self.limits.max_header_bytes + self.limits.max_target_bytes:
                self._break_head("headers_too_large", "The request head is too large.")
                return
        elif self._is_answering():
            return
        if self._deadline is None:
            # Also for bytes that begin nothing, such as blank lines: they have just stopped the idle timer.
            self._arm(self.limits.header_timeout_s, self._head_overdue)

    def _watch_body(self, arrived: int) -> None:
        self._silent_bytes = 0 if self._body_grew else self._silent_bytes + arrived
        self._body_grew = False
        if self._silent_bytes > self.limits.max_header_bytes:
            self._break("The request sends too much that is neither a header nor its body.")
        elif self._deadline is None:
            self._arm(self.limits.body_timeout_s, self._body_overdue)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= self.limits.max_pipelined and not self._deaf:
            # One read can hold thousands of small requests. The last one taken is answered as the last.
            self._deaf = True
            self.cycle.keep_alive = False
        if self._deaf:
            return
        self._begun = self._in_head = True
        self._head_bytes = self._silent_bytes = 0
        self._body_grew = False
        self.url = b""
        self._fields: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += (name, value)

    def on_headers_complete(self) -> None:
        if self._deaf:
            return
        self._in_head = False
        if self._deadline is not None:
            self._disarm()
        parser = self.parser
        http_version = parser.get_http_version()
        names, values = tuple(self._fields[::2]), self._fields[1::2]
        # What comes behind the head is a trailer: it is no header, whatever its name, and nobody looks at it.
        self._fields = []
        running = self.cycle
        exchange = self.cycle = Exchange(
            self,
            self.peer,
            self.scheme or "http",
            parser.get_method().decode("ascii"),
            self.url,
            names,
            values,
            http_version == "1.1" and parser.should_keep_alive(),
            more_body=True,
            http_version=http_version,
            oversized=self.limits.find_oversized(self.url, names, values),
        )
        if running is None or running.response_complete:
            self._begins = exchange
        else:
            self.flow.pause_reading()
            in_line: Any = (exchange, self.app)
            self.pipeline.appendleft(in_line)

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        self._body_grew = True
        if self._deaf or cycle.response_complete or cycle.broken:
            return
        if cycle.body:
            cycle.body += body
        else:
            # What grows is no bytes: each piece would copy all that came before it.
            cycle.body = bytearray(body)
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        if self._deaf:
            return
        self._disarm()
        self._read_is_shared = True
        self._begun = False
        self._in_head = True
        self.cycle.more_body = False

    # Refusing --------------------------------------------------------------------------------------------

    def _break(self, detail: str) -> None:
        """The bytes make no sense from here on: end what they belong to, and listen no more."""
        self._deaf = True
        self._disarm()
        cycle = self.cycle
        if cycle is not None and cycle.more_body and not cycle.response_complete:
            # The body of the request being answered broke off: its own answer says so, if none has begun.
            cycle.keep_alive = False
            cycle.broken = True
            cycle.wake()
            return
        self._break_head("malformed_request", detail)

    def _break_head(self, code: str, detail: str) -> None:
        self._deaf = True
        if self._is_answering():
            # An earlier answer is on its way: nothing may be written into it. It is the last one.
            self.cycle.keep_alive = False
        else:
            self._reject(code, detail)

    def _reject(self, code: str, detail: str) -> None:
        if self.transport.is_closing():
            return
        self._deaf = True
        client = self.client[0] if self.client else None
        status, headers, body = type(self).refuse(code, detail, client)
        head = [STATUS_LINE[status], written(headers), self.default_lines]
        head.append(b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body))
        self.transport.write(b"".join(head) + body)
        self.linger(whole=False)

    # Ending ----------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Closes once what was written has left, and cuts a client that never reads it."""
        if self.parser is None:
            return  # the connection is gone already
        if not self.transport.is_closing():
            self.transport.close()
        self._arm(self.limits.write_timeout_s, self.transport.abort)

    def linger(self, *, whole: bool) -> None:
        """Closes, but a client that is still sending is first let read its answer.

        Closing a socket with unread bytes resets it, and the reset would overtake the answer.
        """
        self._deaf = True
        self._disarm()
        if whole or self.transport.is_closing():
            self.end()
            return
        with contextlib.suppress(OSError, RuntimeError):  # TLS cannot: it ends both ways at once
            self.transport.write_eof()
        self.flow.resume_reading()
        self._arm(self.limits.linger_s, self.end)

    def _discard(self, size: int) -> None:
        self._lingered += size
        if self._lingered > self.limits.linger_bytes:
            self.end()

    def on_response_complete(self) -> None:
        if self.transport.is_closing():
            return
        if self.pipeline:
            queued: Any = self.pipeline.pop()
            if not self._in_head:
                # Its own body is still on its way.
                self._watch(0)
            self._turns.take(queued[0])
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self._deaf:
            self.linger(whole=False)
        elif self._begun:
            # The next one has come in part, and nobody was late while it was not read on.
            self._watch(0)
        else:
            self._at_rest = True
            self._idle.since = self.loop.time()

    def shutdown(self) -> None:
        """Called when the server stops: what is being answered is answered, and is the connection's last."""
        if self._is_answering():
            self.cycle.keep_alive = False
        else:
            self.end()


def strict_protocol(
    limits: Limits, refuse: Refuse, drain: Drain | None = None, serve: Serve = serve_asgi
) -> type[StrictProtocol]:
    """The protocol class of one server: uvicorn builds connections from a class, so its parts ride on it."""
    parts = {
        "limits": limits,
        "read_plain": build_reader(limits).read,
        "refuse": staticmethod(refuse),
        "turns_of": staticmethod(turns_of_a_server(serve)),
        "drain": drain or Drain(),
        "open_at": Counter(),
    }
    return type("ServerProtocol", (StrictProtocol,), parts)
