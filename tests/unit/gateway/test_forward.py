"""Forwarding: who may hold how much of an upstream, and for how long."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from gateway.answer import Answer
from gateway.problems import Refusal
from gateway.stages.forward import Forward
from gateway.upstream import UpstreamPool, UpstreamResponse, UpstreamTarget, UpstreamUnreachable
from tests.support.stage_values import PUBLIC, READ, admitted, asserted


class SlowResponse:
    """An answer whose body has not come."""

    status = 200
    lines = b""
    locations: tuple[bytes, ...] = ()
    content_length: int | None = None
    whole: bytes | None = None

    async def aclose(self) -> None:
        """Nothing is open."""


class WholeResponse(SlowResponse):
    whole = b"{}"


class Pool:
    target = UpstreamTarget(name="paper", scheme="http", host="u", port=80, max_connections=4)
    authority = target.authority

    def __init__(self, outcome: type[SlowResponse] | Exception) -> None:
        self.outcome = outcome

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
