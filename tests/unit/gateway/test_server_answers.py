"""The front line over real sockets: answers are never cut unnoticed, mixed, or held open for ever."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway.answer import Answer
from gateway.server.exchange import Exchange
from gateway.server.limits import Drain
from gateway.server.protocol import strict_protocol
from tests.support.front_line import (
    HASTY,
    LIMITS,
    PLAIN,
    answer,
    connected,
    exchange,
    refuse,
    replaced,
    serving,
    tell_body,
    tell_target,
)


async def test_a_client_that_never_reads_its_last_answer_is_cut() -> None:
    """A connection that is being closed waits for its last bytes to leave, but not for ever."""
    size = 20_000_000

    async def app(_scope: dict[str, Any], _receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        headers = [(b"content-length", b"%d" % size), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * size})

    lost = asyncio.Event()
    async with serving(app, on_lost=lost.set) as address, connected(address) as (_, writer):
        writer.write(PLAIN)
        await asyncio.wait_for(lost.wait(), 5)


async def test_garbage_behind_a_running_answer_is_not_written_into_it() -> None:
    """The answer in progress ends whole, and is the last one."""
    begun = asyncio.Event()

    async def app(_scope: dict[str, Any], _receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        headers = [(b"content-length", b"4")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        begun.set()
        await asyncio.sleep(0.05)
        await send({"type": "http.response.body", "body": b"abcd"})

    async with serving(app) as address, connected(address) as (reader, writer):
        writer.write(PLAIN)
        await begun.wait()
        writer.write(b"\x00garbage\r\n\r\n")
        received = await asyncio.wait_for(reader.read(), 5)
    assert received.endswith(b"\r\n\r\nabcd")
    assert received.count(b"HTTP/1.1") == 1


async def test_an_early_answer_reaches_a_client_that_is_still_sending() -> None:
    """Closing at once would reset the connection, and the reset would overtake the answer."""

    async def app(_scope: dict[str, Any], _receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        await answer(send, b"no", 413)

    async with serving(app, replaced(linger_s=30)) as address, connected(address) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 400000\r\n\r\n")
        for _ in range(10):
            writer.write(b"x" * 20_000)
            await asyncio.sleep(0.005)
        writer.write_eof()
        received = await asyncio.wait_for(reader.read(), 5)
    assert b"connection: close" in received
    assert received.endswith(b"no")


async def test_an_application_that_fails_leaves_no_whole_answer() -> None:
    """A client must be able to tell that an answer was cut."""

    async def app(_scope: dict[str, Any], _receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("on purpose")

    received = await exchange(app, PLAIN)
    assert b"half" in received
    assert not received.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("body", [b"abc", b"abcdefgh"])
async def test_an_answer_of_another_length_than_declared_is_cut(body: bytes) -> None:
    """Bytes beyond the declared length would be read as the next answer."""

    async def app(_scope: dict[str, Any], _receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        headers = [(b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    received = await exchange(app, PLAIN)
    assert len(received.partition(b"\r\n\r\n")[2]) <= 5


async def test_a_head_answer_has_no_body() -> None:
    """Whatever length it declares."""
    sent = b"HEAD /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    received = await exchange(tell_target, sent)
    assert b"content-length: 2" in received
    assert received.endswith(b"\r\n\r\n")


async def test_a_client_that_never_reads_loses_its_connection() -> None:
    """A stalled reader must not hold an upstream's connection for ever."""
    ended = asyncio.Event()

    async def app(_scope: dict[str, Any], _receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
        finally:
            ended.set()

    async with serving(app) as address, connected(address) as (_, writer):
        writer.write(PLAIN)
        await asyncio.wait_for(ended.wait(), 10)


async def test_a_draining_node_asks_its_clients_to_go_elsewhere() -> None:
    """A kept connection would be cut with a request on its way when the node stops."""
    drain = Drain()
    drain.has_begun = True
    async with (
        serving(tell_target, drain=drain) as address,
        connected(address) as (reader, writer),
    ):
        writer.write(PLAIN)
        received = await asyncio.wait_for(reader.read(), 5)
    assert received.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in received


async def test_connections_are_counted_by_the_door_they_came_in_by() -> None:
    """Strangers at the partners' door must not make the probes at the other one fail."""
    async with (
        serving(tell_target, replaced(max_connections=1), doors=2) as (partners, control),
        connected(partners),
        connected(control) as (reader, writer),
    ):
        writer.write(PLAIN)
        assert (await asyncio.wait_for(reader.readuntil(b"/a"), 5)).startswith(b"HTTP/1.1 200")


async def test_far_too_many_connections_are_not_even_told() -> None:
    """An answer holds its connection too; past twice the bound there is none."""
    async with (
        serving(tell_target, replaced(max_connections=1)) as address,
        connected(address),
        connected(address) as (told, _),
        connected(address) as (untold, _),
    ):
        assert (await asyncio.wait_for(told.read(), 5)).endswith(b"overloaded")
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(untold.read(), 5) == b""


@pytest.mark.parametrize(
    "framing",
    [b"content-length: 5\r\n\r\nhello", b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"],
)
async def test_the_body_of_an_upgrade_is_broken_and_never_empty(framing: bytes) -> None:
    """The parser stops in front of it: to take it for empty would forward another request than was sent."""
    head = b"POST /a HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n"
    assert (await exchange(tell_body, head + framing)).endswith(b"broken")


async def test_who_waits_in_line_is_not_late() -> None:
    """While an earlier answer is on its way it is the server that does not read."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        if scope["method"] == "GET":
            await asyncio.sleep(0.5)
        await tell_body(scope, receive, send)

    async with serving(app, replaced(body_timeout_s=0.3)) as address, connected(address) as (reader, writer):
        writer.write(PLAIN + b"POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nab")
        await asyncio.sleep(0.1)
        writer.write(b"cd")
        received = await asyncio.wait_for(reader.readuntil(b"abcd"), 5)
    assert received.count(b"HTTP/1.1 200") == 2


async def test_who_never_sends_on_is_late_once_it_is_their_turn() -> None:
    """The deadline begins when the server reads again."""
    sent = PLAIN + b"POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nab"
    received = await exchange(tell_body, sent, HASTY)
    assert received.count(b"HTTP/1.1 200") == 1
    assert received.endswith(b"broken")


async def test_a_client_that_goes_while_another_request_waits_is_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The answer that is running hears of it, though it is not the newest on its connection."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def app(_scope: dict[str, Any], _receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        await send({"type": "http.response.start", "status": 200, "headers": []})
        begun.set()
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
                await asyncio.sleep(0.01)
        finally:
            ended.set()

    async with serving(app) as address, connected(address) as (_, writer):
        writer.write(PLAIN + PLAIN)
        await begun.wait()
        writer.transport.abort()
        await asyncio.wait_for(ended.wait(), 5)
    assert not caplog.records


async def test_after_a_slow_reader_has_caught_up_answers_leave_at_once_again() -> None:
    """What was told of a paused connection is told back when it goes on."""
    # More than the kernel's two socket buffers ever hold, so that the connection is paused by the write itself.
    size = 20_000_000
    at_once: list[bool] = []
    takes_more: list[bool] = []

    async def serve(exchange: Exchange) -> None:
        body = b"x" * size if exchange.target == b"/big" else b"small"
        at_once.append(Answer(200, b"", body).write_at_once(exchange))
        (connection,) = state.connections
        takes_more.append(cast("Any", connection).takes_more)
        if not at_once[-1]:
            exchange.abort()

    protocol, state = strict_protocol(LIMITS, refuse, None, serve), ServerState()
    config = uvicorn.Config(cast("Any", tell_target), log_level="critical", lifespan="off")
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
    try:
        async with connected(server.sockets[0].getsockname()) as (reader, writer):
            writer.write(PLAIN.replace(b"/a", b"/big"))
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            await asyncio.wait_for(reader.readexactly(size), 30)
            writer.write(PLAIN)
            assert (await asyncio.wait_for(reader.readuntil(b"small"), 5)).startswith(b"HTTP/1.1 200")
    finally:
        server.close()
    assert at_once == [True, True]
    assert takes_more == [False, True]
