"""Forwarding: who may hold how much of an upstream, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
import pytest

from gateway.answer import Answer
from gateway.problems import Refusal
from gateway.stages.assert_identity import Asserted
from gateway.stages.forward import Forward
from gateway.upstream import (
    Timeouts,
    UpstreamBroken,
    UpstreamPool,
    UpstreamResponse,
    UpstreamTarget,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from tests.support.hostile_upstream import HostileUpstream, Script, Wire, hostile_upstream, serve_ok
from tests.support.stage_values import PUBLIC, READ, admitted, asserted, changed
from tests.support.upstream_leg import PATIENT, until_true


class SlowResponse:
    """An answer whose body has not come."""

    status = 200
    lines = b""
    locations: tuple[bytes, ...] = ()
    content_length: int | None = None
    whole: bytes | None = None
    dated: bool | None = None

    async def aclose(self) -> None:
        """Nothing is open."""


class WholeResponse(SlowResponse):
    whole = b"{}"


class Pool:
    target = UpstreamTarget(name="paper", scheme="http", host="u", port=80, max_connections=4)
    authority = target.authority

    def __init__(self, outcome: type[SlowResponse] | Exception) -> None:
        self.outcome = outcome

    def ask(self, _request: Any, _timeouts: Any) -> None:  # noqa: ANN401  not looked at
        """No connection stands ready."""

    async def send(self, _request: Any, _timeouts: Any) -> UpstreamResponse:  # noqa: ANN401  not looked at
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return cast("UpstreamResponse", self.outcome())


def forward(outcome: type[SlowResponse] | Exception) -> Forward:
    return Forward({"paper": cast("UpstreamPool", Pool(outcome))})


async def ask(stage: Forward, *, public: bool) -> Answer:
    return await stage(asserted(admitted(), PUBLIC if public else READ))


async def test_strangers_hold_half_of_an_upstreams_connections_until_their_last_byte() -> None:
    """However slowly they read: what partners need is left."""
    stage = forward(SlowResponse)
    held = [await ask(stage, public=True) for _ in range(2)]
    with pytest.raises(Refusal) as refused:
        await ask(stage, public=True)
    assert refused.value.problem.kind.code == "overloaded"
    await ask(stage, public=False)
    assert held[0].close is not None
    await held[0].close()
    await ask(stage, public=True)


@pytest.mark.parametrize("outcome", [WholeResponse, UpstreamUnreachable("refused")])
async def test_what_is_over_is_not_held(outcome: type[SlowResponse] | Exception) -> None:
    """A whole answer and a failure give their share back at once."""
    stage = forward(outcome)
    for _ in range(10):
        if isinstance(outcome, Exception):
            with pytest.raises(UpstreamUnreachable):
                await ask(stage, public=True)
        else:
            assert (await ask(stage, public=True)).body == b"{}"


class MovedResponse(WholeResponse):
    lines = b"x-a: b\r\n"
    locations = (b"/orders/1",)


async def test_a_place_to_go_to_is_told_as_one_on_the_gateway() -> None:
    """Below the prefix that was taken off on the way there."""
    route = msgspec.structs.replace(READ, strip_prefix=b"/paper")
    answer = await forward(MovedResponse)(asserted(admitted(), route))
    assert answer.lines == b"x-a: b\r\nlocation: /paper/orders/1\r\n"


# The ordinary way, over real sockets: an idle connection is there, and the answer comes whole.


@asynccontextmanager
async def forwarding(script: Script) -> AsyncIterator[tuple[Forward, UpstreamPool, HostileUpstream]]:
    async with hostile_upstream(script) as upstream:
        pool = UpstreamPool(UpstreamTarget(name="paper", scheme="http", host="127.0.0.1", port=upstream.port))
        try:
            yield Forward({"paper": pool}), pool, upstream
        finally:
            await pool.aclose()
        assert (pool.stats.slots, pool.stats.open) == (0, 0)


def signed(method: str = "GET", timeouts: Timeouts = PATIENT) -> Asserted:
    request = admitted()
    arrival = changed(request.arrival, method=method)
    route = msgspec.structs.replace(READ, timeouts=timeouts)
    return asserted(msgspec.structs.replace(request, arrival=arrival), route)


async def _serve_once_then_hang_up_on_a_request(wire: Wire) -> None:
    if wire.number > 1:
        await serve_ok(wire)
    await wire.answer()
    await wire.read_request()


async def test_an_idle_connection_is_used_again() -> None:
    """One connection serves one request after the other."""
    async with forwarding(serve_ok) as (stage, pool, upstream):
        for _ in range(3):
            assert (await stage(signed())).body == b"ok"
        assert [len(wire.asked) for wire in upstream.wires] == [3]
        assert (pool.stats.slots, pool.stats.idle) == (1, 1)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_a_safe_request_on_a_connection_that_just_died_is_repeated(method: str) -> None:
    """Once, and the client sees nothing of it."""
    async with forwarding(_serve_once_then_hang_up_on_a_request) as (stage, pool, upstream):
        await stage(signed())
        assert (await stage(signed(method))).status == 200
        assert [len(wire.asked) for wire in upstream.wires] == [2, 1]
        assert (pool.stats.slots, pool.stats.idle) == (1, 1)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_any_other_request_is_not_repeated(method: str) -> None:
    """The order may have been placed."""
    async with forwarding(_serve_once_then_hang_up_on_a_request) as (stage, pool, upstream):
        await stage(signed())
        with pytest.raises(UpstreamBroken) as broken:
            await stage(signed(method))
        assert broken.value.reason == "closed_early"
        assert len(upstream.asked) == 2
        assert pool.stats.slots == 0


async def test_it_is_repeated_once_only() -> None:
    """The second failure is the client's to know."""

    async def script(wire: Wire) -> None:
        if wire.number == 1:
            await wire.answer()
        await wire.read_request()

    async with forwarding(script) as (stage, pool, upstream):
        await stage(signed())
        with pytest.raises(UpstreamBroken):
            await stage(signed())
        assert [len(wire.asked) for wire in upstream.wires] == [2, 1]
        assert pool.stats.slots == 0


async def test_a_repetition_ends_with_the_total_of_the_first_time() -> None:
    """Nothing is given anew but the time to connect."""

    async def script(wire: Wire) -> None:
        if wire.number == 1:
            await wire.answer()
            await wire.read_request()
            await asyncio.sleep(0.2)
        else:
            await wire.wait_hung_up()

    async with forwarding(script) as (stage, _, upstream):
        await stage(signed())
        began = asyncio.get_running_loop().time()
        with pytest.raises(UpstreamTimeout) as late:
            await stage(signed(timeouts=Timeouts(first_byte_ms=10_000, total_ms=350)))
        assert late.value.which == "total"
        assert asyncio.get_running_loop().time() - began < 0.5
        assert len(upstream.wires) == 2


async def test_a_client_that_goes_away_costs_the_connection_and_no_slot() -> None:
    """Whatever the upstream still answers to it is nobody's."""

    async def script(wire: Wire) -> None:
        await wire.answer()
        await wire.read_request()
        await wire.wait_hung_up()

    async with forwarding(script) as (stage, pool, upstream):
        await stage(signed())
        asking = asyncio.create_task(stage(signed()))
        await until_true(lambda: len(upstream.asked) == 2)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (pool.stats.slots, pool.stats.idle) == (0, 0)
        await until_true(lambda: pool.stats.open == 0)


async def test_a_connection_that_is_closed_already_is_not_asked() -> None:
    """The close lies in the socket, unseen by the loop; the look before use finds it."""

    async def script(wire: Wire) -> None:
        await wire.answer()
        if wire.number > 1:
            await serve_ok(wire)
        await wire.wait_hung_up()

    async with forwarding(script) as (stage, pool, upstream):
        await stage(signed())
        upstream.wires[0].close_now()
        assert (await stage(signed("POST"))).body == b"ok"
        assert [len(wire.asked) for wire in upstream.wires] == [1, 1]
        assert pool.stats.slots == 1
