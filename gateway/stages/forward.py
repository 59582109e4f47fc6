"""Last stage: hand it to the upstream. Takes only what has been asserted, so nothing unproved can come here."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from types import MappingProxyType

from gateway import bodies, outbound, returned_headers
from gateway.answer import Answer
from gateway.credentials.proof import Asked, Attached, Proof
from gateway.problems import Refusal
from gateway.ratelimit_headers import add_state
from gateway.stages.assert_identity import Asserted
from gateway.stages.match_route import Routed
from gateway.upstream import UpstreamPool, UpstreamResponse
from gateway.waits import own_task

_NONE: Mapping[str, Proof] = MappingProxyType({})


class Forward:
    """`credentials`: of the upstreams that have one, or have to. They change while requests go by."""

    def __init__(self, pools: Mapping[str, UpstreamPool], credentials: Mapping[str, Proof] = _NONE) -> None:
        self._pools = pools
        self._credentials = credentials
        self._strangers: Counter[str] = Counter()

    async def __call__(self, asserted: Asserted) -> Answer:
        authenticated = asserted.counted.authorized.authenticated
        routed = authenticated.routed
        route = routed.route
        pool = self._pools[route.upstream]
        if route.public:
            return await self._forward_public(pool, asserted, routed)
        if route.upstream in self._credentials:
            proved = await self._send_proved(pool, asserted, routed, authenticated.body)
            return _answer(proved, pool, asserted, routed)
        # A signed body is whole already.
        request = outbound.request_for(pool.authority, asserted, routed, authenticated.body)
        response = pool.ask(request, route.timeouts)
        if response is None:
            response = await pool.send(request, route.timeouts)
        else:
            try:
                await response.arrived
            except BaseException as error:  # noqa: BLE001  it is raised again, unless the request is repeated
                response = await pool.recover(response, request, route.timeouts, error)
        return _answer(response, pool, asserted, routed)

    async def _forward_public(self, pool: UpstreamPool, asserted: Asserted, routed: Routed) -> Answer:
        """Strangers hold a connection for as long as they send or read slowly: together they get half of them."""
        name = pool.target.name
        if self._strangers[name] >= max(1, pool.target.max_connections // 2):
            raise Refusal("overloaded", "Public requests take as much of this upstream as they may.")
        self._strangers[name] += 1
        try:
            body, length = _public_body(routed)
            if routed.route.upstream in self._credentials:
                response = await self._send_proved(pool, asserted, routed, body, length)
            else:
                request = outbound.request_for(pool.authority, asserted, routed, body, length)
                response = await pool.send(request, routed.route.timeouts)
            answer = _answer(response, pool, asserted, routed)
        except BaseException:
            self._strangers[name] -= 1
            raise
        self._release_with(answer, name)
        return answer

    async def _send_proved(
        self,
        pool: UpstreamPool,
        asserted: Asserted,
        routed: Routed,
        body: bytes | AsyncIterator[bytes],
        length: int | None = None,
    ) -> UpstreamResponse:
        """With what the gateway proves itself with. Where there is nothing of the kind, nothing is sent."""
        route, admitted = routed.route, routed.admitted
        proof = self._credentials[route.upstream]
        await own_task()
        lines = proof.lines
        if lines is None:
            lines = await proof.prove(
                Asked(
                    admitted.arrival.method,
                    route.upstream_target(admitted.target),
                    body if isinstance(body, bytes) else None,
                    asserted.counted.authorized.authenticated.body_sha256,
                )
            )
        attached = Attached(proof.taken, lines)
        request = outbound.request_for(pool.authority, asserted, routed, body, length, attached)
        response = await pool.send(request, route.timeouts)
        if response.status == HTTPStatus.UNAUTHORIZED:
            proof.note_refused(lines)
        return response

    def _release_with(self, answer: Answer, name: str) -> None:
        close = answer.close
        if close is None:
            self._strangers[name] -= 1
            return

        async def close_and_release() -> None:
            self._strangers[name] -= 1
            await close()

        answer.close = close_and_release


def _public_body(routed: Routed) -> tuple[bytes | AsyncIterator[bytes], int | None]:
    """That of a public route goes through as it comes."""
    admitted, length = routed.admitted, routed.admitted.headers.content_length
    if not admitted.headers.chunked and not length:
        return b"", None
    return bodies.read_chunks(admitted.arrival.receive, routed.route.max_body_bytes), length


def _answer(response: UpstreamResponse, pool: UpstreamPool, asserted: Asserted, routed: Routed) -> Answer:
    lines, whole = add_state(response.lines, asserted.counted.states), response.whole
    if response.locations:
        lines += returned_headers.location_lines(
            response.locations, pool.authority, routed.route.strip_prefix
        )
    if whole is None:
        return Answer(response.status, lines, response, response.aclose, response.content_length)
    return Answer(response.status, lines, whole, None, response.content_length, dated=response.dated)
