"""The front line over real sockets: framing, deadlines, and bounds on what a client may send."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from gateway.server.exchange import Exchange
from gateway.server.limits import Limits
from gateway.server.protocol import StrictProtocol
from tests.support.front_line import (
    HASTY,
    LIMITS,
    PLAIN,
    answer,
    connected,
    exchange,
    replaced,
    serving,
    tell_body,
    tell_target,
)


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
    async with (
        serving(tell_target, HASTY, keep_alive_s=30) as address,
        connected(address) as (reader, writer),
    ):
        writer.write(PLAIN)
        await reader.readuntil(b"/a")
        writer.write(b"\r\n")
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_head_that_dawdles_is_refused() -> None:
    """Half a head is answered and closed once its time is over."""
    received = await exchange(tell_target, b"GET /a HTTP/1.1\r\nhost: x\r\nx-slow: ", HASTY)
    assert received.startswith(b"HTTP/1.1 400")


async def test_a_head_that_never_begins_is_closed() -> None:
    """A connection that says nothing is not kept."""
    assert await exchange(tell_target, b"", HASTY) == b""


async def test_a_second_head_that_dawdles_is_refused_too() -> None:
    """The deadline is every request's, not the first one's."""
    received = await exchange(tell_target, PLAIN + b"GET /b HTTP/1.1\r\nho", HASTY)
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

    async def serve(exchange: Exchange) -> None:
        seen.append(exchange.oversized)
        exchange.answer(200, b"", b"", None, last=True, dated=None)

    async with serving(tell_target, serve=serve) as address, connected(address) as (reader, writer):
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
    sent = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab"
    assert (await exchange(tell_body, sent, HASTY)).endswith(b"broken")


@pytest.mark.parametrize("tail", [b"0\r\nx: " + b"a" * 200_000, b"0\r\n" + b"a: b\r\n" * 40_000])
async def test_endless_trailers_end_their_request(tail: bytes) -> None:
    """They are dropped, so nothing else would ever bound them."""
    async with (
        serving(tell_body) as address,
        connected(address) as (reader, writer),
    ):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        for at in range(0, len(tail), 8_192):
            writer.write(tail[at : at + 8_192])
            await asyncio.sleep(0)
        received = await asyncio.wait_for(reader.read(), 10)
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


@pytest.mark.parametrize(("pieces", "sent"), [([b"abc"], b"abc"), ([b"abc", b"defg"], b"abc"), ([], b"")])
async def test_an_answer_that_is_not_as_long_as_declared_ends_its_connection(
    pieces: list[bytes], sent: bytes
) -> None:
    """Nothing beyond the declared length is written, and nobody takes a part for the whole."""

    async def app(_scope: dict[str, Any], _receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    whole = await exchange(app, PLAIN + PLAIN)
    assert whole.count(b"HTTP/1.1") == 1
    assert whole.partition(b"\r\n\r\n")[2] == sent


async def test_an_answer_before_the_end_of_the_body_is_the_last() -> None:
    """What is still to come of that body never becomes another request."""
    sent = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n" + PLAIN
    whole = await exchange(tell_target, sent)
    assert whole.count(b"HTTP/1.1") == 1
    assert b"connection: close\r\n" in whole


async def test_whoever_asks_on_after_a_whole_request_waits_for_its_end() -> None:
    """It is not told again and again that nothing more comes."""
    told: list[str] = []

    async def app(_scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        told.append((await receive())["type"])
        asked = asyncio.ensure_future(receive())
        await asyncio.sleep(0.05)
        assert not asked.done()
        await answer(send, b"done")
        told.append((await asyncio.wait_for(asked, 5))["type"])

    async with serving(app) as address, connected(address) as (reader, writer):
        writer.write(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nab")
        await asyncio.wait_for(reader.readuntil(b"done"), 5)
        await asyncio.sleep(0.01)
    assert told == ["http.request", "http.disconnect"]


async def test_a_request_that_waits_behind_a_slow_answer_is_not_late() -> None:
    """Half of it had come, and it is the server that did not read on. From then on it has its time."""

    async def app(scope: dict[str, Any], _receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        if scope["portreeve.target"] == b"/slow":
            await asyncio.sleep(2 * HASTY.header_timeout_s)
        await answer(send, scope["portreeve.target"])

    def head(path: bytes) -> bytes:
        return b"GET /%b HTTP/1.1\r\nhost: x\r\n\r\n" % path

    async with serving(app, HASTY) as address, connected(address) as (reader, writer):
        writer.write(head(b"fast") + head(b"slow") + head(b"third")[:20])
        await asyncio.sleep(HASTY.header_timeout_s / 2)
        writer.write(head(b"third")[20:])
        await asyncio.wait_for(reader.readuntil(b"/third"), 5)
        writer.write(head(b"fast") + head(b"slow") + head(b"third")[:20])
        assert b" 400 " in (await asyncio.wait_for(reader.read(), 5)).partition(b"/slow")[2]


async def test_a_body_behind_a_slow_answer_has_its_time_too() -> None:
    """It begins when its request does."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        if scope["portreeve.target"] == b"/slow":
            await asyncio.sleep(2 * HASTY.body_timeout_s)
            await answer(send, b"slow")
        else:
            await tell_body(scope, receive, send)

    sent = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\nPOST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab"
    async with serving(app, HASTY) as address, connected(address) as (reader, writer):
        writer.write(sent)
        assert (await asyncio.wait_for(reader.read(), 5)).endswith(b"\r\n\r\nbroken")


async def test_a_body_that_nobody_reads_is_let_go_with_its_answer() -> None:
    """The connection may be kept for long after it."""
    kept: list[Exchange] = []

    async def app(_scope: dict[str, Any], _receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
        await answer(send, b"done")

    class Watched(Exchange):
        def __post_init__(self) -> None:
            kept.append(self)

    sent = b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gateway.server.plain_head.Exchange", Watched)
        patch.setattr("gateway.server.protocol.Exchange", Watched)
        async with serving(app) as address, connected(address) as (reader, writer):
            for unusual in (b"", b"x:y\r\n"):
                writer.write(sent + unusual + b"\r\nab")
                await asyncio.wait_for(reader.readuntil(b"done"), 5)
    assert [bytes(each.body) for each in kept] == [b"", b""]


async def test_a_closed_connection_is_freed_at_once() -> None:
    """With all that it held: the collector would find it much later."""

    def count() -> int:
        return sum(isinstance(each, StrictProtocol) for each in gc.get_objects())

    gc.collect()
    gc.disable()
    before = count()
    try:
        async with serving(tell_body) as address:
            async with connected(address) as (reader, writer):
                writer.write(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nab")
                await asyncio.wait_for(reader.readuntil(b"ab"), 5)
                assert count() == before + 1
            await asyncio.sleep(0.05)
            assert count() == before
    finally:
        gc.enable()


async def test_what_the_server_itself_refuses_is_dated(monkeypatch: pytest.MonkeyPatch) -> None:
    """As every answer of ours (RFC 9110, 6.6.1), once."""
    monkeypatch.setattr(StrictProtocol, "default_lines", b"date: today\r\n")
    received = await exchange(tell_target, b"GET /a HTTP/1.1\r\nbad header\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 400")
    assert received.count(b"\r\ndate: today\r\n") == 1
