"""One request, top to bottom.

Each stage takes what the last one proved and returns more, or raises. The order is in the types: `forward`
takes only what was asserted, which takes only what was counted, and so on up to `admit`.
"""

from __future__ import annotations

from collections.abc import Awaitable
from time import perf_counter_ns

import msgspec

from gateway import bodies
from gateway.answer import Answer
from gateway.stages.admit import Admitted
from gateway.stages.admit_once import AdmitOnce, Counted
from gateway.stages.assert_identity import AssertIdentity
from gateway.stages.authenticate import Authenticate
from gateway.stages.authorize import Authorize
from gateway.stages.describe_caller import DescribeCaller
from gateway.stages.forward import Forward
from gateway.stages.hand_over import HandOver
from gateway.stages.limit_source import LimitSource
from gateway.stages.match_route import MatchRoute
from gateway.waits import own_task


class Stages(msgspec.Struct, frozen=True):
    limit_source: LimitSource
    match_route: MatchRoute
    authenticate: Authenticate
    authorize: Authorize
    admit_once: AdmitOnce
    describe_caller: DescribeCaller
    hand_over: HandOver
    assert_identity: AssertIdentity
    forward: Forward


class Pipeline:
    def __init__(self, stages: Stages, budget: bodies.Budget) -> None:
        self._budget = budget
        self._describe_caller = stages.describe_caller
        self._hand_over = stages.hand_over
        # Methods, bound once and called by a name of their own: to call an object, or what an attribute holds, is
        # looked up with every request.
        self._in_order = (
            stages.limit_source.__call__,
            stages.match_route.__call__,
            stages.authenticate,
            stages.authorize.__call__,
            stages.admit_once,
            stages.assert_identity.__call__,
            stages.forward.__call__,
        )

    def run(self, admitted: Admitted) -> Awaitable[Answer]:
        headers = admitted.headers
        has_body = headers.chunked or headers.content_length
        return self._run_holding(admitted) if has_body else self._run(admitted, None)

    async def _run_holding(self, admitted: Admitted) -> Answer:
        """A body counts as held until its request has been answered."""
        with self._budget.hold(admitted.source) as hold:
            return await self._run(admitted, hold)

    async def _run(self, admitted: Admitted, hold: bodies.Hold | None) -> Answer:
        limit_source, match_route, authenticate, authorize, admit_once, assert_identity, forward = (
            self._in_order
        )
        began = admitted.arrival.trace.stages_us
        limit_source(admitted.source)
        routed = match_route(admitted)
        began["authenticate"] = perf_counter_ns()
        if hold is None:
            authenticated = authenticate.without_body(routed)
        else:
            authenticated = await authenticate.with_body(routed, hold)
        authorized = authorize(authenticated)
        began["admit_once"] = perf_counter_ns()
        states = await admit_once.ask(authorized)
        counted = admit_once.count(authorized, states)
        if routed.route.is_local:
            return await self._answer_here(counted)
        asserted = assert_identity(counted)
        began["forward"] = perf_counter_ns()
        return await forward(asserted)

    async def _answer_here(self, counted: Counted) -> Answer:
        if counted.authorized.authenticated.routed.route.is_control:
            await own_task()
            return await self._hand_over(counted)
        return self._describe_caller(counted)
