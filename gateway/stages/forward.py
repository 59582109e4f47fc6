"""Last stage: hand it to the upstream. Takes only what has been asserted, so nothing unproved can come here."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping

from gateway import bodies, outbound, returned_headers
from gateway.answer import Answer
from gateway.problems import Refusal
from gateway.ratelimit_headers import state_headers
from gateway.stages.assert_identity import Asserted
from gateway.stages.authenticate import Authenticated
from gateway.upstream import OutboundRequest, UpstreamPool, UpstreamResponse


class Forward:
    def __init__(self, pools: Mapping[str, UpstreamPool]) -> None:
        self._pools = pools
        self._strangers: Counter[str] = Counter()

    async def __call__(self, asserted: Asserted) -> Answer:
        route = asserted.counted.authorized.authenticated.routed.route
        pool = self._pools[route.upstream]
        if route.public:
            return await self._forward_public(pool, asserted)
        response = await pool.send(_outbound_request(asserted), route.timeouts)
        return _answer(response, asserted, pool.authority)

    async def _forward_public(self, pool: UpstreamPool, asserted: Asserted) -> Answer:
        """Strangers hold a connection for as long as they send or read slowly: together they get half of them."""
        name = pool.target.name
        if self._strangers[name] >= max(1, pool.target.max_connections // 2):
            raise Refusal("overloaded", "Public requests take as much of this upstream as they may.")
        self._strangers[name] += 1
        try:
            route = asserted.counted.authorized.authenticated.routed.route
            response = await pool.send(_outbound_request(asserted), route.timeouts)
            answer = _answer(response, asserted, pool.authority)
        except BaseException:
            self._strangers[name] -= 1
            raise
        self._release_with(answer, name)
        return answer

    def _release_with(self, answer: Answer, name: str) -> None:
        close = answer.close
        if close is None:
            self._strangers[name] -= 1
            return

        async def close_and_release() -> None:
            self._strangers[name] -= 1
            await close()

        answer.close = close_and_release


def _outbound_request(asserted: Asserted) -> OutboundRequest:
    authenticated = asserted.counted.authorized.authenticated
    routed = authenticated.routed
    admitted, route = routed.admitted, routed.route
    body: bytes | AsyncIterator[bytes] = authenticated.body
    length = None
    if route.public:
        body, length = _public_body(authenticated)
    lines, count = outbound.lines_for(asserted)
    return OutboundRequest(
        admitted.arrival.method.encode("ascii"),
        route.upstream_target(admitted.target),
        admitted.headers.passed,
        body,
        length,
        lines,
        count,
    )


def _public_body(authenticated: Authenticated) -> tuple[bytes | AsyncIterator[bytes], int | None]:
    """A signed body is whole already; that of a public route goes through as it comes."""
    admitted, route = authenticated.routed.admitted, authenticated.routed.route
    length = admitted.headers.content_length
    if not admitted.headers.chunked and not length:
        return authenticated.body, None
    return bodies.read_chunks(admitted.arrival.receive, route.max_body_bytes), length


def _answer(response: UpstreamResponse, asserted: Asserted, authority: bytes) -> Answer:
    counted = asserted.counted
    prefix = counted.authorized.authenticated.routed.route.strip_prefix
    returned = returned_headers.returnable(response.headers, authority, prefix)
    returned += state_headers(counted.states.buckets)
    whole = response.find_whole_body()
    if whole is None:
        return Answer(response.status, returned, response, response.aclose, response.content_length)
    return Answer(response.status, returned, whole, None, response.content_length)
