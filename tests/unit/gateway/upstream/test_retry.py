"""A request is repeated only where that can do no harm, and only once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.upstream import UpstreamBroken, UpstreamPool, UpstreamTarget, UpstreamUnreachable
from tests.support.hostile_upstream import OK, Wire, hostile_upstream, serve_ok
from tests.support.upstream_leg import PATIENT, OpenPool, ask, request


async def _serve_once_then_hang_up_on_a_request(wire: Wire) -> None:
    """The first connection dies with its second request unanswered; later ones are well."""
    if wire.number > 1:
        await serve_ok(wire)
    await wire.answer()
    await wire.read_request()


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS"])
async def test_a_safe_request_on_a_connection_that_just_died_is_repeated(
    open_pool: OpenPool, method: bytes
) -> None:
    """The caller sees nothing of it."""
    async with hostile_upstream(_serve_once_then_hang_up_on_a_request) as upstream:
        pool = open_pool(upstream, max_connections=1)
        await ask(pool)
        status, _ = await ask(pool, method)
        assert status == 200
        assert [len(wire.asked) for wire in upstream.wires] == [2, 1]
        assert pool.stats.slots == 1


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"PATCH"])
async def test_any_other_request_is_not_repeated(open_pool: OpenPool, method: bytes) -> None:
    """The order may have been placed."""
    async with hostile_upstream(_serve_once_then_hang_up_on_a_request) as upstream:
        pool = open_pool(upstream)
        await ask(pool)
        with pytest.raises(UpstreamBroken) as broken:
            await ask(pool, method, b"{}")
        assert broken.value.reason == "closed_early"
        assert len(upstream.asked) == 2
        assert pool.stats.slots == 0


async def test_a_streamed_body_is_not_repeated(open_pool: OpenPool) -> None:
    """It is gone once it has been read, however safe the method."""

    async def body() -> AsyncIterator[bytes]:
        yield b"once"

    async with hostile_upstream(_serve_once_then_hang_up_on_a_request) as upstream:
        pool = open_pool(upstream)
        await ask(pool)
        with pytest.raises(UpstreamBroken):
            await ask(pool, b"GET", body())
        assert len(upstream.asked) == 2


async def test_after_a_single_byte_of_an_answer_nothing_is_repeated(open_pool: OpenPool) -> None:
    """Then the request was read, and the failure is an answer's."""

    async def script(wire: Wire) -> None:
        await wire.answer()
        await wire.answer(b"H")

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        await ask(pool)
        with pytest.raises(UpstreamBroken) as broken:
            await ask(pool)
        assert broken.value.reason == "truncated"
        assert len(upstream.wires) == 1


async def test_a_fresh_connection_that_dies_is_no_reason_to_repeat(open_pool: OpenPool) -> None:
    """Only a connection that had served before may have been closed for idleness."""

    async def script(wire: Wire) -> None:
        await wire.read_request()

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        with pytest.raises(UpstreamBroken):
            await ask(pool)
        assert len(upstream.wires) == 1


async def test_it_is_repeated_once_only(open_pool: OpenPool) -> None:
    """The second failure is the caller's to know."""

    async def script(wire: Wire) -> None:
        if wire.number == 1:
            await wire.answer()
        await wire.read_request()

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        await ask(pool)
        with pytest.raises(UpstreamBroken):
            await ask(pool)
        assert [len(wire.asked) for wire in upstream.wires] == [2, 1]
        assert pool.stats.slots == 0


async def test_an_upstream_gone_for_good_is_unreachable_at_the_repetition(open_pool: OpenPool) -> None:
    """The slot of the dead connection is free again."""
    async with hostile_upstream(_serve_once_then_hang_up_on_a_request) as upstream:
        pool = open_pool(upstream)
        await ask(pool)
    with pytest.raises(UpstreamUnreachable) as unreachable:
        await ask(pool)
    assert unreachable.value.reason == "refused"
    assert pool.stats.slots == 0


async def test_an_unsafe_request_never_takes_a_connection_that_is_closed_already(open_pool: OpenPool) -> None:
    """The close lies in the socket, unseen by the loop; the look before use finds it."""

    async def script(wire: Wire) -> None:
        await wire.answer()
        if wire.number > 1:
            await serve_ok(wire)
        await wire.wait_hung_up()

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        await ask(pool)
        upstream.wires[0].close_now()
        assert await ask(pool, b"POST", b"{}") == (200, b"ok")
        assert [len(wire.asked) for wire in upstream.wires] == [1, 1]


async def test_a_refused_connection_is_unreachable(open_pool: OpenPool) -> None:
    """Nobody listens."""
    async with hostile_upstream(serve_ok) as upstream:
        port = upstream.port
    with pytest.raises(UpstreamUnreachable) as unreachable:
        await ask(open_pool(port))
    assert unreachable.value.reason == "refused"


async def test_a_name_that_does_not_exist_is_unreachable() -> None:
    """`.invalid` never resolves."""
    pool = UpstreamPool(UpstreamTarget(name="u", scheme="http", host="nowhere.invalid", port=1))
    with pytest.raises(UpstreamUnreachable) as unreachable:
        await ask(pool)
    assert unreachable.value.reason == "dns"
    await pool.aclose()


async def test_the_answers_of_one_connection_stay_with_their_requests(open_pool: OpenPool) -> None:
    """A reset between two requests does not shift answers."""

    async def script(wire: Wire) -> None:
        await wire.answer()
        await wire.read_request()
        if wire.number == 1:
            wire.reset()
        await wire.send(OK)

    async with hostile_upstream(script) as upstream:
        pool = open_pool(upstream)
        assert await ask(pool) == (200, b"ok")
        assert await ask(pool) == (200, b"ok")


async def test_only_a_whole_body_is_asked_at_once_and_only_on_an_idle_connection(open_pool: OpenPool) -> None:
    """What streams a body, or opens a connection, has more to await than the answer."""

    async def body() -> AsyncIterator[bytes]:
        yield b"once"

    async with hostile_upstream(serve_ok) as upstream:
        pool = open_pool(upstream)
        assert pool.ask(request(), PATIENT) is None
        await ask(pool)
        assert pool.ask(request(b"POST", body()), PATIENT) is None
        response = pool.ask(request(b"POST", b"{}"), PATIENT)
        assert response is not None
        assert pool.ask(request(), PATIENT) is None
        await response.arrived
        assert (response.status, response.whole) == (200, b"ok")
        assert (pool.stats.slots, pool.stats.idle) == (1, 1)
