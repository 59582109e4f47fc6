"""What an upstream may answer, and what is refused: at the head, or while the body is read."""

from __future__ import annotations

import pytest

from gateway.upstream import ResponseLimits, UpstreamBroken
from tests.support.hostile_upstream import OK, Wire, hostile_upstream
from tests.support.upstream_leg import PATIENT, OpenPool, ask, read, request, until

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"garbage\r\n\r\n", "malformed"),
        (b"GET / HTTP/1.1\r\n\r\n", "malformed"),
        (b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "malformed"),
        (b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n", "malformed"),
        (b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n", "malformed"),
        (b"HTTP/1.1 999 High\r\nContent-Length: 0\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "malformed"),
        (HEAD + b"A: b\nContent-Length: 0\r\n\r\n", "malformed"),
        (HEAD + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n", "malformed"),
        (HEAD + b"A: b\0c\r\nContent-Length: 0\r\n\r\n", "malformed"),
        (HEAD + b"A: b\rc\r\nContent-Length: 0\r\n\r\n", "malformed"),
        (HEAD + b"Content-Length : 0\r\n\r\n", "malformed"),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", "malformed"),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", "malformed"),
        (HEAD + b"Content-Length: 2, 2\r\n\r\nok", "malformed"),
        (HEAD + b"Content-Length: +2\r\n\r\nok", "malformed"),
        (HEAD + b"Content-Length: 99999999999999999999\r\n\r\nok", "malformed"),
        (HEAD + b"Content-Length: 9999999999999999\r\n\r\nok", "framing"),
        (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "malformed"),
        (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n", "malformed"),
        (HEAD + b"Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n", "framing"),
        (HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "framing"),
        (HEAD + b"Transfer-Encoding: identity\r\n\r\nok", "framing"),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "framing"),
        (HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "framing"),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "framing"),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "upgrade"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "upgrade"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9 + OK, "interim"),
        (HEAD + b"Content-Length: 2\r\nX", "truncated"),
        (b"", "closed_early"),
    ],
)
async def test_a_head_that_is_not_beyond_doubt_is_refused(
    open_pool: OpenPool, answer: bytes, reason: str
) -> None:
    """No response is made of it, and the connection is closed."""

    async def script(wire: Wire) -> None:
        await wire.answer(answer)
        if reason not in {"truncated", "closed_early"}:
            await wire.wait_hung_up()

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        with pytest.raises(UpstreamBroken) as refused:
            await ask(pool)
        assert refused.value.reason == reason
        assert pool.stats.slots == 0
        if reason not in {"truncated", "closed_early"}:
            await until(upstream.wires[0].hung_up)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (HEAD + b"Content-Length: 10\r\n\r\nshort", "truncated"),
        (CHUNKED + b"5\r\nshort\r\n", "truncated"),
        (CHUNKED + b"5\r\nshort\r\n0\r\n", "truncated"),
        (CHUNKED + b"5\r\nshortX\r\n0\r\n\r\n", "malformed"),
        (CHUNKED + b"5\r\nshort\r\nzz\r\n", "malformed"),
        (CHUNKED + b"5\r\nshort\r\n-1\r\n", "malformed"),
        (CHUNKED + b"5\r\nshort\r\n 1\r\n", "malformed"),
        (CHUNKED + b"5\r\nshort\r\nfffffffffffffffff\r\n", "malformed"),
        (CHUNKED + b"5\r\nshort\r\n0\r\nA: b\nC: d\r\n\r\n", "malformed"),
        (CHUNKED + b"5\r\nshort\r\n0\r\n bad trailer\r\n\r\n", "malformed"),
        (CHUNKED + b"5\r\nshort\r\n0\r\nContent-Length: 5\r\n\r\n", "malformed"),
    ],
)
async def test_a_body_that_breaks_off_raises_where_it_breaks(
    open_pool: OpenPool, answer: bytes, reason: str
) -> None:
    """What came before is handed out, but the end never looks like one."""

    async def script(wire: Wire) -> None:
        await wire.answer(answer)

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        response = await pool.send(request(), PATIENT)
        assert response.whole is None
        received = b""
        with pytest.raises(UpstreamBroken) as broken:  # noqa: PT012  what came before the break is part of the claim
            async for chunk in response:
                received += chunk
        assert (received, broken.value.reason) == (b"short", reason)
        with pytest.raises(UpstreamBroken):
            await read(response)
        assert pool.stats.slots == 0


async def test_a_reset_is_no_end_of_a_body(open_pool: OpenPool) -> None:
    """A body that ends with the connection ends only with an orderly close."""

    async def script(wire: Wire) -> None:
        await wire.answer(b"HTTP/1.1 200 OK\r\n\r\nuntil")
        await wire.reader.readexactly(1)
        wire.reset()

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        response = await pool.send(request(), PATIENT)
        assert await anext(response) == b"until"
        upstream.wires[0].reset()
        with pytest.raises(UpstreamBroken) as broken:
            await anext(response)
        assert broken.value.reason == "truncated"


async def test_interim_answers_are_passed_over_with_their_headers(open_pool: OpenPool) -> None:
    """Only the final answer is seen."""

    async def script(wire: Wire) -> None:
        await wire.answer(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", OK
        )

    async with hostile_upstream(script) as upstream:
        response = await open_pool(upstream).send(request(), PATIENT)
        assert (response.status, response.lines) == (200, b"")
        assert await read(response) == b"ok"


async def test_headers_of_the_connection_and_those_it_names_go_no_further(open_pool: OpenPool) -> None:
    """They are between the upstream and us; the length survives even when it is named."""
    hop_by_hop = (
        b"Connection: X-Named, keep-alive\r\nconnection: content-length\r\nKeep-Alive: timeout=5\r\n"
        b"Proxy-Authenticate: Basic\r\nProxy-Anything: 1\r\nTE: trailers\r\nTrailer: X-T\r\nUpgrade: h2c\r\n"
        b"X-Named: gone\r\n"
    )

    async def script(wire: Wire) -> None:
        await wire.answer(
            HEAD + hop_by_hop + b"Content-Length: 2\r\nX-Kept: \t a b \t\r\nx-kept: c\r\n\r\nok"
        )

    async with hostile_upstream(script) as upstream:
        response = await open_pool(upstream).send(request(), PATIENT)
        assert response.lines == b"x-kept: a b\r\nx-kept: c\r\n"
        assert response.content_length == 2
        assert response.whole == b"ok"


async def test_trailers_are_dropped(open_pool: OpenPool) -> None:
    """They come after the head was handed on, and are in no one's contract."""

    async def script(wire: Wire) -> None:
        await wire.answer(CHUNKED, b"2\r\nok\r\n0\r\nX-Late: 1\r\nPortreeve-Identity: forged\r\n\r\n")

    async with hostile_upstream(script) as upstream:
        response = await open_pool(upstream).send(request(), PATIENT)
        assert await read(response) == b"ok"
        assert response.lines == b""


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"A: " + b"x" * 3_000 + b"\r\n\r\n",
        HEAD + b"A: b\r\n" * 30 + b"\r\n",
        HEAD + b"A: b\r\n" * 1_000 + b"\r\n",
        HEAD + b"A: " + b"x" * 100_000,
        b"HTTP/1.1 200 " + b"x" * 100_000,
        b"\r\n" * 50_000,
    ],
)
async def test_a_head_beyond_its_bounds_is_refused(open_pool: OpenPool, head: bytes) -> None:
    """In bytes and in number, complete or never ending."""

    async def script(wire: Wire) -> None:
        await wire.answer(head)
        await wire.wait_hung_up()

    limits = ResponseLimits(head_bytes=2_000, headers=20, silence_bytes=8_000)
    async with hostile_upstream(script) as upstream:
        with pytest.raises(UpstreamBroken) as refused:
            await ask(open_pool(upstream, limits=limits))
        assert refused.value.reason == "headers_too_large"


@pytest.mark.parametrize(
    "endless", [b"0\r\nA: " + b"x" * 900_000, b"0\r\n" + b"A: b\r\n" * 150_000, b"1;a=" + b"x" * 900_000]
)
async def test_what_is_never_seen_is_bounded_too(open_pool: OpenPool, endless: bytes) -> None:
    """Trailers and chunk extensions reach nobody, so nobody else would stop them."""

    async def script(wire: Wire) -> None:
        await wire.answer(CHUNKED + b"2\r\nok\r\n", endless)
        await wire.wait_hung_up()

    limits = ResponseLimits(head_bytes=8_000, silence_bytes=8_000)
    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream, limits=limits)
        with pytest.raises(UpstreamBroken):
            await ask(pool)
        assert pool.stats.slots == 0
