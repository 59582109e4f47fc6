"""Last stage: hand it to the upstream. Takes only what has been asserted, so nothing unproved can come here."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping

from gateway import bodies, headers, outbound
from gateway.answer import Answer
from gateway.problems import Refusal
from gateway.ratelimit_headers import state_headers
from gateway.stages.assert_identity import Asserted
from gateway.upstream import OutboundRequest, UpstreamPool, UpstreamResponse


class Forward:
    def __init__(self, pools: Mapping[str, UpstreamPool]) -> None:
        self._pools = pools
        self._strangers: Counter[str] = Counter()

    async def __call__(self, asserted: Asserted) -> Answer:
        routed = asserted.counted.authorized.authenticated.routed
        pool = self._pools[routed.route.upstream]
        request = _outbound_request(asserted, pool.target.authority)
        if not routed.route.public:
            return _answer(await pool.send(request, routed.route.timeouts), asserted, pool.target.authority)
        return await self._forward_public(pool, request, asserted)

    async def _forward_public(
        self, pool: UpstreamPool, request: OutboundRequest, asserted: Asserted
    ) -> Answer:
        """Strangers hold a connection for as long as they send or read slowly: together they get half of them."""
        name = pool.target.name
        if self._strangers[name] >= max(1, pool.target.max_connections // 2):
            raise Refusal("overloaded", "Public requests take as much of this upstream as they may.")
        self._strangers[name] += 1
        try:
            routed = asserted.counted.authorized.authenticated.routed
            response = await pool.send(request, routed.route.timeouts)
            answer = _answer(response, asserted, pool.target.authority)
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


def _outbound_request(asserted: Asserted, authority: bytes) -> OutboundRequest:
    authenticated = asserted.counted.authorized.authenticated
    routed = authenticated.routed
    body, length = _body(asserted)
    return OutboundRequest(
        method=routed.admitted.arrival.method.encode("ascii"),
        target=routed.route.upstream_target(routed.admitted.target),
        headers=outbound.headers_for(asserted, authority),
        body=body,
        content_length=length,
    )


def _body(asserted: Asserted) -> tuple[bytes | AsyncIterator[bytes], int | None]:
    """A signed body is whole already; that of a public route goes through as it comes."""
    authenticated = asserted.counted.authorized.authenticated
    admitted = authenticated.routed.admitted
    length = admitted.headers.content_length
    if not authenticated.routed.route.public or (not admitted.headers.chunked and not length):
        return authenticated.body, len(authenticated.body)
    return bodies.read_chunks(admitted.arrival.receive, authenticated.routed.route.max_body_bytes), length


def _answer(response: UpstreamResponse, asserted: Asserted, authority: bytes) -> Answer:
    prefix = asserted.counted.authorized.authenticated.routed.route.strip_prefix
    returned = headers.returnable(response.headers, authority, prefix)
    if response.content_length is not None:
        returned.append((b"content-length", b"%d" % response.content_length))
    returned += state_headers(asserted.counted.states.buckets)
    whole = response.find_whole_body()
    if whole is None:
        return Answer(response.status, returned, response, response.aclose)
    return Answer(response.status, returned, whole)
