"""The front line over real sockets: framing, deadlines, and answers that are never cut or mixed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway.server.protocol import Limits, strict_protocol

App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]

LIMITS = Limits(
    max_connections=50,
    header_timeout_s=0.2,
    body_timeout_s=0.2,
    max_header_bytes=1024,
    max_headers=10,
    max_target_bytes=256,
    write_timeout_s=0.3,
    linger_s=0.2,
    linger_bytes=1 << 20,
)
PLAIN = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"


def replaced(**changes: float) -> Limits:
    return msgspec.structs.replace(LIMITS, **changes)


def refuse(code: str, _detail: str, _client: str | None) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    status = {"overloaded": 503, "headers_too_large": 431}.get(code, 400)
    body = code.encode()
    return status, [(b"content-length", b"%d" % len(body))], body


async def answer(send: Any, body: bytes, status: int = 200) -> None:  # noqa: ANN401  an ASGI callable
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def tell_target(scope: dict[str, Any], _receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
    await answer(send, scope["portreeve.target"])


async def tell_body(_scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            await answer(send, b"broken" if message["broken"] else b"gone", 400)
            return
        body += message["body"]
        if not message["more_body"]:
            break
    await answer(send, body)


@asynccontextmanager
async def serving(
    app: App,
    limits: Limits = LIMITS,
    keep_alive_s: float = 1.0,
    on_lost: Callable[[], None] = lambda: None,
) -> AsyncIterator[Any]:
    config = uvicorn.Config(app, log_level="critical", lifespan="off", timeout_keep_alive=keep_alive_s)  # type: ignore[arg-type]  # a float serves
    state = ServerState()

    class Build(strict_protocol(limits, refuse)):  # type: ignore[misc]  # a class made at run time
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            on_lost()

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Build(config, state, {}), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=1)


@asynccontextmanager
async def connected(address: tuple[str, int]) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def exchange(app: App, sent: bytes, limits: Limits = LIMITS) -> bytes:
    """Sends bytes, and returns all that comes until the server closes."""
    async with serving(app, limits) as address, connected(address) as (reader, writer):
        writer.write(sent)
        return await asyncio.wait_for(reader.read(), 5)


async def test_the_target_arrives_as_it_was_sent() -> None:
    """Fragments, absolute forms and a bare question mark are not the server's to cut."""
    for target in (b"/a?", b"/a#b", b"http://h/a", b"/a%zz", b"*"):
        async with serving(tell_target) as address, connected(address) as (reader, writer):
            writer.write(b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n" % target)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(len(target)) == target


async def test_keep_alive_serves_one_request_after_the_other() -> None:
    """Pipelined requests are answered in their order."""
    sent = b"".join(b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % number for number in range(5))
    received = await exchange(tell_target, sent)
    assert [part[:2] for part in received.split(b"\r\n\r\n")[1:]] == [b"/0", b"/1", b"/2", b"/3", b"/4"]


async def test_an_idle_connection_is_closed() -> None:
    """After the keep-alive time, without a word."""
    async with serving(tell_target, keep_alive_s=0.1) as address, connected(address) as (reader, writer):
        writer.write(PLAIN)
        assert (await asyncio.wait_for(reader.read(), 5)).endswith(b"/a")


async def test_blank_lines_do_not_keep_a_connection_open() -> None:
    """They begin no request, so the deadline for a head runs."""
    async with serving(tell_target, keep_alive_s=30) as address, connected(address) as (reader, writer):
        writer.write(PLAIN)
        await reader.readuntil(b"/a")
        writer.write(b"\r\n")
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_head_that_dawdles_is_refused() -> None:
    """Half a head is answered and closed once its time is over."""
    received = await exchange(tell_target, b"GET /a HTTP/1.1\r\nhost: x\r\nx-slow: ")
    assert received.startswith(b"HTTP/1.1 400")


async def test_a_head_that_never_begins_is_closed() -> None:
    """A connection that says nothing is not kept."""
    assert await exchange(tell_target, b"") == b""


async def test_a_second_head_that_dawdles_is_refused_too() -> None:
    """The deadline is every request's, not the first one's."""
    received = await exchange(tell_target, PLAIN + b"GET /b HTTP/1.1\r\nho")
    assert received.count(b"HTTP/1.1 200") == 1
    assert received.count(b"HTTP/1.1 400") == 1


async def test_an_endless_head_is_refused_while_it_arrives() -> None:
    """It need not end to be too large."""
    received = await exchange(tell_target, b"GET /a HTTP/1.1\r\nx: " + b"a" * 5000)
    assert received.startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /" + b"a" * 300 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 11 + b"\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * 1100 + b"\r\n\r\n",
    ],
)
async def test_an_oversized_head_is_marked_for_the_edge(request_head: bytes) -> None:
    """Bytes, count and target each have a bound with a name."""
    seen: list[str | None] = []

    async def app(scope: dict[str, Any], _receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        seen.append(scope["portreeve.oversized"])
        await answer(send, b"")

    async with serving(app) as address, connected(address) as (reader, writer):
        writer.write(request_head)
        await reader.readuntil(b"\r\n\r\n")
    assert seen[0] is not None


async def test_a_trailer_is_no_header() -> None:
    """Whatever a trailer is called, it joins nothing."""
    seen: list[Any] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        await tell_body(scope, receive, send)
        seen.extend(scope["headers"])

    sent = (
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        b"2\r\nok\r\n0\r\nPortreeve-Key: forged\r\n\r\n"
    )
    assert (await exchange(app, sent)).endswith(b"ok")
    assert [name for name, _ in seen] == [b"host", b"transfer-encoding"]


@pytest.mark.parametrize("tail", [b"zz\r\n", b"5\r\nok\r\n\r\n", b"fffffffffffffffff\r\n", b"2\r\nokx"])
async def test_a_broken_chunk_breaks_its_request(tail: bytes) -> None:
    """A body that went wrong is told to the application as broken, never as ended."""
    sent = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + tail
    received = await exchange(tell_body, sent)
    assert received.startswith(b"HTTP/1.1 400")
    assert received.endswith(b"broken")


async def test_a_body_that_stops_arriving_is_broken() -> None:
    """There is a deadline for the whole of it."""
    received = await exchange(tell_body, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab")
    assert received.endswith(b"broken")


@pytest.mark.parametrize("tail", [b"0\r\nx: " + b"a" * 200_000, b"0\r\n" + b"a: b\r\n" * 40_000])
async def test_endless_trailers_end_their_request(tail: bytes) -> None:
    """They are dropped, so nothing else would ever bound them."""
    async with (
        serving(tell_body, replaced(body_timeout_s=5.0)) as address,
        connected(address) as (reader, writer),
    ):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        for at in range(0, len(tail), 8_192):
            writer.write(tail[at : at + 8_192])
            await asyncio.sleep(0)
        received = await asyncio.wait_for(reader.read(), 3)
    assert received.endswith(b"broken")


async def test_no_more_requests_wait_on_one_connection_than_a_bound() -> None:
    """A single read can hold thousands: those taken are answered, then the connection ends."""
    begun = 0

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        nonlocal begun
        begun += 1
        await asyncio.sleep(0.01)
        await tell_body(scope, receive, send)

    taken = b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nok"
    received = await exchange(app, taken * 500, replaced(max_pipelined=4))
    assert begun == 5
    assert received.count(b"HTTP/1.1 200") == 5
    assert received.count(b"\r\n\r\nok") == 5


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

    async with serving(app) as address, connected(address) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 400000\r\n\r\n")
        for _ in range(10):
            writer.write(b"x" * 20_000)
            await asyncio.sleep(0.005)
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


async def test_one_connection_too_many_is_told_so() -> None:
    """It is refused with a name, and the others go on."""
    limits = Limits(
        **{name: getattr(LIMITS, name) for name in LIMITS.__struct_fields__} | {"max_connections": 1}
    )
    async with serving(tell_target, limits) as address, connected(address) as (reader, writer):
        writer.write(PLAIN)
        await reader.readuntil(b"/a")
        async with connected(address) as (second, _):
            assert (await asyncio.wait_for(second.read(), 5)).endswith(b"overloaded")
        writer.write(PLAIN)
        await reader.readuntil(b"/a")


async def test_an_upgrade_is_answered_as_plain_http_and_ends_the_connection() -> None:
    """Bytes sent ahead of an accepted upgrade reach nothing."""
    upgrade = b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    sent = upgrade + b"GET /smuggled HTTP/1.1\r\n\r\n"
    received = await exchange(tell_target, sent)
    assert received.count(b"HTTP/1.1 200") == 1
    assert b"smuggled" not in received


async def test_a_client_asking_for_permission_to_send_is_given_it_once_wanted() -> None:
    """`100 Continue` comes when the application reads, not before."""
    async with serving(tell_body) as address, connected(address) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ok")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")


async def test_a_large_body_does_not_grow_in_memory_while_nobody_reads_it() -> None:
    """The socket is paused until the application asks."""
    proceed, sizes = asyncio.Event(), []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        await proceed.wait()
        message = await receive()
        sizes.append(len(message["body"]))
        while message["more_body"]:
            message = await receive()
        await answer(send, b"done")

    async with serving(app, replaced(body_timeout_s=5.0)) as address, connected(address) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 8000000\r\n\r\n" + b"x" * 8_000_000)
        await asyncio.sleep(0.1)
        proceed.set()
        assert (await asyncio.wait_for(reader.readuntil(b"done"), 10)).startswith(b"HTTP/1.1 200")
    assert sizes[0] < 1_000_000


async def test_a_client_that_has_said_all_it_will_is_answered() -> None:
    """Some close their half at once and wait."""
    async with serving(tell_body) as address, connected(address) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nok")
        writer.write_eof()
        received = await asyncio.wait_for(reader.read(), 5)
    assert received.startswith(b"HTTP/1.1 200")
    assert received.endswith(b"ok")


async def test_a_client_that_ends_in_the_middle_of_a_request_is_told_so() -> None:
    """Half a body is no body, and is not waited for."""
    async with (
        serving(tell_body, replaced(body_timeout_s=30.0)) as address,
        connected(address) as (reader, writer),
    ):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nok")
        writer.write_eof()
        received = await asyncio.wait_for(reader.read(), 5)
    assert received.endswith(b"broken")


async def test_a_body_before_a_head_in_one_read_does_not_count_as_head() -> None:
    """A pipelined request behind a large body is not too large for it."""
    first = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 60000\r\n\r\n" + b"x" * 60_000
    async with serving(tell_body) as address, connected(address) as (reader, writer):
        writer.write(first + b"GET /b HTTP/1.1\r\nhos")
        await reader.readuntil(b"x" * 60_000)
        writer.write(b"t: x\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).startswith(b"HTTP/1.1 200")
