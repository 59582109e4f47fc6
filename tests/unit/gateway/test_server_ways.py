"""Two ways to read a request, one connection: the one-look reader and the parser keep its state for each other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest

from gateway.server import protocol as server_protocol
from gateway.server.exchange import Exchange
from gateway.server.plain_head import CompiledReader, PlainReader
from gateway.server.protocol import StrictProtocol
from tests.support import optional
from tests.support.front_line import (
    HASTY,
    PLAIN,
    answer,
    connected,
    exchange,
    replaced,
    serving,
    tell_body,
    tell_target,
)

POST = b"POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"POST /c HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"

Reads = list[bool]


@pytest.fixture(params=[PlainReader, CompiledReader], ids=["interpreted", "compiled"])
def plain(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Reads:
    """Of each read that the one-look reader was shown: whether it took it."""
    reads: Reads = []
    build: type[PlainReader] = request.param
    if build is CompiledReader:
        optional.require("compiled_room")

    class NotedReader(build):  # type: ignore[misc, valid-type]  # of either kind
        def read(self, protocol: StrictProtocol, data: bytes) -> Exchange | None:
            taken: Exchange | None = super().read(protocol, data)
            reads.append(taken is not None)
            return taken

    monkeypatch.setattr(server_protocol, "build_reader", NotedReader)
    return reads


async def tell_both(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
    """Target and body, so that an answer tells its request."""

    async def send_both(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            message["body"] = scope["portreeve.target"] + b"=" + message["body"] + b";"
        else:
            message["headers"] = [(b"content-length", b"%d" % (int(message["headers"][0][1]) + 4))]
        await send(message)

    await tell_body(scope, receive, send_both)


class TurnsAtOnce:
    """Turns that serve inside `take`, as far as the request goes without waiting."""

    def __init__(
        self, serve: Callable[[Exchange], Coroutine[Any, Any, None]], _loop: object, _tasks: object
    ) -> None:
        self._serve = serve

    def take(self, exchange: Exchange) -> None:
        with pytest.raises(StopIteration):
            self._serve(exchange).send(None)

    def end(self) -> None:
        pass


@pytest.mark.parametrize("at_once", [False, True], ids=["in a task", "inside the call"])
async def test_all_kinds_of_requests_are_answered_on_one_connection(
    plain: Reads, monkeypatch: pytest.MonkeyPatch, *, at_once: bool
) -> None:
    """In whatever order they come, and however soon they are answered; none of the answers is the last."""
    if at_once:
        monkeypatch.setattr(server_protocol, "turns_of_a_server", lambda serve: partial(TurnsAtOnce, serve))
    told = {
        PLAIN: b"/a=;",
        POST: b"/b=hello;",
        CHUNKED: b"/c=abcde;",
        POST + PLAIN: b"/a=;",
        PLAIN * 3: b"/a=;",
    }
    order = [PLAIN, POST, CHUNKED, POST + PLAIN, PLAIN, CHUNKED, POST, PLAIN * 3, POST, PLAIN]
    async with serving(tell_both) as address, connected(address) as (reader, writer):
        for sent in order:
            writer.write(sent)
            received = b""
            for _ in range(sent.count(b"HTTP/1.1")):
                received += await asyncio.wait_for(reader.readuntil(b";"), 5)
            assert received.endswith(told[sent])
            assert received.count(b"HTTP/1.1 200") == sent.count(b"HTTP/1.1")
            assert b"connection: close" not in received
    assert plain == [sent.count(b"HTTP/1.1") == 1 and sent is not CHUNKED for sent in order]


async def test_a_request_in_pieces_is_the_parsers(plain: Reads) -> None:
    """From its first byte to its last, and the next one is looked at again."""
    async with serving(tell_both) as address, connected(address) as (reader, writer):
        for cut in (1, 10, 30, len(POST) - 5, len(POST) - 1):
            for piece in (POST[:cut], POST[cut:]):
                writer.write(piece)
                await asyncio.sleep(0.01)
            assert (await asyncio.wait_for(reader.readuntil(b";"), 5)).endswith(b"/b=hello;")
            writer.write(PLAIN)
            assert (await asyncio.wait_for(reader.readuntil(b";"), 5)).endswith(b"/a=;")
    assert plain == [False, True] * 5


async def test_a_request_behind_a_blank_line_is_the_parsers(plain: Reads) -> None:
    """Which has seen that line."""
    async with serving(tell_both) as address, connected(address) as (reader, writer):
        for sent in (b"\r\n", PLAIN):
            writer.write(sent)
            await asyncio.sleep(0.01)
        await asyncio.wait_for(reader.readuntil(b"/a=;"), 5)
    assert plain == [False]


async def test_a_request_behind_a_running_answer_waits_in_line(plain: Reads) -> None:
    """It is answered after the one before, however plain it is."""
    proceed = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        if scope["method"] == "GET":
            await proceed.wait()
        await tell_both(scope, receive, send)

    async with serving(app) as address, connected(address) as (reader, writer):
        writer.write(PLAIN)
        await asyncio.sleep(0.02)
        writer.write(POST)
        await asyncio.sleep(0.02)
        proceed.set()
        assert (await asyncio.wait_for(reader.readuntil(b";"), 5)).endswith(b"/a=;")
        assert (await asyncio.wait_for(reader.readuntil(b";"), 5)).endswith(b"/b=hello;")
    assert plain == [True]


@pytest.mark.parametrize("first", [b"", PLAIN], ids=["at rest", "behind a running answer"])
async def test_what_looks_like_a_request_inside_another_is_none(plain: Reads, first: bytes) -> None:
    """A read that begins in the middle of a header is part of it, wherever the answer before it has ended by then."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        await asyncio.sleep(0.05)
        await tell_both(scope, receive, send)

    async with serving(app) as address, connected(address) as (reader, writer):
        for sent in (first, b"GET /b HTTP/1.1\r\nhost: x\r\nx-a: ", b"GET /c HTTP/1.1\r\nhost: x\r\n\r\n"):
            writer.write(sent)
            await asyncio.sleep(0.02)
            if first and sent is not first and sent.endswith(b"x-a: "):
                await asyncio.wait_for(reader.readuntil(b"/a=;"), 5)
        await asyncio.wait_for(reader.readuntil(b"/b=;"), 5)
        writer.write(PLAIN)
        assert b"/c" not in await asyncio.wait_for(reader.readuntil(b"/a=;"), 5)
    assert plain == ([True, True] if first else [False, True])


async def test_the_deadline_of_a_head_ends_with_it(plain: Reads) -> None:
    """A first request whose answer takes longer is answered."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        await asyncio.sleep(0.3)
        await tell_target(scope, receive, send)

    async with (
        serving(app, replaced(header_timeout_s=0.2)) as address,
        connected(address) as (reader, writer),
    ):
        writer.write(PLAIN)
        assert (await asyncio.wait_for(reader.readuntil(b"/a"), 5)).startswith(b"HTTP/1.1 200")
    assert plain == [True]


async def test_a_head_that_dawdles_behind_a_plain_request_is_refused(plain: Reads) -> None:
    """Its deadline begins with its first byte."""
    async with (
        serving(tell_target, HASTY, keep_alive_s=30) as address,
        connected(address) as (reader, writer),
    ):
        writer.write(PLAIN)
        await reader.readuntil(b"/a")
        writer.write(b"GET /b HTTP/1.1\r\nho")
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 400")
    assert plain == [True, False]


async def test_an_answer_that_takes_longer_than_a_connection_may_be_idle_is_given(plain: Reads) -> None:
    """The time of the idle connection ends in the middle of it; and begins anew behind it."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        if scope["method"] == "POST":
            await asyncio.sleep(0.5)
        await tell_both(scope, receive, send)

    async with serving(app, keep_alive_s=0.3) as address, connected(address) as (reader, writer):
        for sent, told in ((PLAIN, b"/a=;"), (POST, b"/b=hello;"), (PLAIN, b"/a=;")):
            writer.write(sent)
            await asyncio.wait_for(reader.readuntil(told), 5)
        assert await asyncio.wait_for(reader.read(), 5) == b""
    assert plain == [True, True, True]


async def test_a_new_connection_has_the_time_of_a_head_and_not_that_of_an_idle_one(plain: Reads) -> None:
    """Whichever is longer."""
    limits = replaced(header_timeout_s=2.0)
    async with (
        serving(tell_target, limits, keep_alive_s=0.05) as address,
        connected(address) as (reader, writer),
    ):
        await asyncio.sleep(0.2)
        writer.write(PLAIN)
        assert (await asyncio.wait_for(reader.readuntil(b"/a"), 5)).startswith(b"HTTP/1.1 200")
    assert plain == [True]


async def test_a_connection_too_many_is_not_listened_to(plain: Reads) -> None:
    """However plain what it sends."""
    async with (
        serving(tell_target, replaced(max_connections=1)) as address,
        connected(address),
        connected(address) as (reader, writer),
    ):
        writer.write(PLAIN)
        received = await asyncio.wait_for(reader.read(), 5)
    assert received.count(b"HTTP/1.1") == 1
    assert received.endswith(b"overloaded")
    assert plain == []


async def test_nothing_behind_a_last_request_is_listened_to(plain: Reads) -> None:
    """Its client said that it would be the last."""
    async with serving(tell_target) as address, connected(address) as (reader, writer):
        writer.write(b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        await reader.readuntil(b"/a")
        writer.write(PLAIN)
        assert await asyncio.wait_for(reader.read(), 5) == b""
    assert plain == [True]


async def test_a_client_that_has_said_all_it_will_gets_a_last_answer(plain: Reads) -> None:
    """Its half is closed while a plain request of it is being answered."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        await asyncio.sleep(0.05)
        await tell_target(scope, receive, send)

    async with serving(app) as address, connected(address) as (reader, writer):
        writer.write(PLAIN)
        await asyncio.sleep(0.01)
        writer.write_eof()
        received = await asyncio.wait_for(reader.read(), 5)
    assert received.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in received
    assert plain == [True]


async def test_a_server_that_stops_makes_a_running_answer_the_last(
    plain: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And lets it end."""
    made: list[StrictProtocol] = []
    connection_made = StrictProtocol.connection_made

    def noted(self: StrictProtocol, transport: asyncio.Transport) -> None:
        made.append(self)
        connection_made(self, transport)

    monkeypatch.setattr(StrictProtocol, "connection_made", noted)

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        made[0].shutdown()
        await asyncio.sleep(0.01)
        await tell_target(scope, receive, send)

    received = await exchange(app, PLAIN)
    assert received.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in received
    assert plain == [True]


async def test_who_waits_for_a_body_is_told_of_it_once_its_read_is_looked_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever is told may answer inside the call: what is broken behind the body must be known by then."""
    told: list[tuple[bytes, bool]] = []
    wake = Exchange.wake

    def noted(self: Exchange) -> None:
        if self.more_body is False and not self.response_started:
            told.append((bytes(self.body), self.keep_alive))
        wake(self)

    monkeypatch.setattr(Exchange, "wake", noted)
    head, body = POST[:-5], POST[-5:]
    async with serving(tell_body) as address, connected(address) as (reader, writer):
        for behind, keeps_alive in ((b"", True), (b"\x00", False)):
            told.clear()
            writer.write(head)
            await asyncio.sleep(0.01)
            writer.write(body + behind)
            await reader.readuntil(b"hello")
            assert told == [(b"hello", keeps_alive)]


@pytest.mark.parametrize("at_once", [False, True], ids=["in a task", "inside the call"])
async def test_an_answered_client_that_has_nothing_to_say_is_idle(
    plain: Reads, monkeypatch: pytest.MonkeyPatch, *, at_once: bool
) -> None:
    """No deadline of a head runs for it, however soon it was answered."""
    if at_once:
        monkeypatch.setattr(server_protocol, "turns_of_a_server", lambda serve: partial(TurnsAtOnce, serve))
    async with serving(answer_at_once, keep_alive_s=1.0) as address, connected(address) as (reader, writer):
        for sent in (PLAIN, CHUNKED, POST + PLAIN, PLAIN):
            writer.write(sent)
            for _ in range(sent.count(b"HTTP/1.1")):
                await asyncio.wait_for(reader.readuntil(b"done"), 5)
            await asyncio.sleep(0.3)
        assert await asyncio.wait_for(reader.read(), 5) == b""
    assert plain == [True, False, False, True]


async def answer_at_once(_scope: dict[str, Any], _receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
    await answer(send, b"done")


async def test_nothing_behind_a_last_request_is_read(plain: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is answered, and the connection is closed; what came meanwhile is not even looked at."""
    looked_at: list[bytes] = []
    monkeypatch.setattr(StrictProtocol, "_parse", lambda _, data: looked_at.append(data))
    proceed = asyncio.Event()

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        await proceed.wait()
        await tell_target(scope, receive, send)

    async with serving(app) as address, connected(address) as (reader, writer):
        writer.write(b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        await asyncio.sleep(0.02)
        for _ in range(2):
            writer.write(POST)
            await asyncio.sleep(0.02)
        proceed.set()
        received = await asyncio.wait_for(reader.read(), 5)
    assert received.count(b"HTTP/1.1") == 1
    assert received.endswith(b"\r\n\r\n/a")
    assert (plain, looked_at) == ([True], [])
