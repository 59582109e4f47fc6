"""Last stage: hand it to the upstream. Takes only what has been asserted, so nothing unproved can come here."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager

from gateway import bodies, headers, outbound
from gateway.answer import Answer
from gateway.problems import Refusal
from gateway.ratelimit_headers import state_headers
from gateway.stages.assert_identity import Asserted
from gateway.upstream import OutboundRequest, UpstreamPool, UpstreamResponse

_WITHOUT_BODY = frozenset({204, 304})


class Forward:
    def __init__(self, pools: Mapping[str, UpstreamPool]) -> None:
        self._pools = pools
        self._uploads: Counter[str] = Counter()

    async def __call__(self, asserted: Asserted) -> Answer:
        routed = asserted.counted.authorized.authenticated.routed
        pool = self._pools[routed.route.upstream]
        request = _outbound_request(asserted, pool.target.authority)
        if isinstance(request.body, bytes):
            return _answer(await pool.send(request, routed.route.timeouts), asserted)
        with self._upload(pool):
            return _answer(await pool.send(request, routed.route.timeouts), asserted)

    @contextmanager
    def _upload(self, pool: UpstreamPool) -> Iterator[None]:
        """A streamed body holds its connection for as long as its sender likes: strangers get half of them."""
        name = pool.target.name
        if self._uploads[name] >= max(1, pool.target.max_connections // 2):
            raise Refusal("overloaded", "As many bodies as may be are on their way to this upstream.")
        self._uploads[name] += 1
        try:
            yield
        finally:
            self._uploads[name] -= 1


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


def _answer(response: UpstreamResponse, asserted: Asserted) -> Answer:
    returned = headers.returnable(response.headers)
    if response.content_length is not None:
        returned.append((b"content-length", b"%d" % response.content_length))
    returned += state_headers(asserted.counted.states.buckets)
    whole = response.find_whole_body()
    if whole is None:
        return Answer(response.status, returned, response, response.aclose)
    method = asserted.counted.authorized.authenticated.routed.admitted.arrival.method
    # Of a body that cannot come there is no length to tell.
    if response.content_length is None and method != "HEAD" and response.status not in _WITHOUT_BODY:
        returned.append((b"content-length", b"%d" % len(whole)))
    return Answer(response.status, returned, whole)
