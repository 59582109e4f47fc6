"""First stage: sizes, framing, header hygiene and the one canonical path.

Proves that the request can be read in one way only. From here on there is one target and one set of headers:
signing, routing, policy and upstream all see these.
"""

from __future__ import annotations

import msgspec

from gateway import headers as request_headers
from gateway.arrival import Arrival
from gateway.headers import Read, RequestHeaders
from gateway.paths import Target, canonical
from gateway.problems import Refusal
from gateway.routes import MethodNotAllowed
from gateway.sources import Source, Sources

_NEVER = frozenset({"CONNECT", "TRACE"})
_EVER = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


class Admitted(msgspec.Struct, frozen=True, gc=False):
    arrival: Arrival
    target: Target
    headers: RequestHeaders
    source: Source
    via_proxy: bool


class Admit:
    def __init__(self, sources: Sources, read: Read = request_headers.read) -> None:
        self._sources = sources
        self._read = read
        self._of_peer = sources.of_peer

    def find_charged(self, arrival: Arrival) -> Source | None:
        """Whom to charge for what could not be admitted."""
        return self._sources.find_charged(arrival.peer, arrival.names, arrival.values)

    def __call__(self, arrival: Arrival) -> Admitted:
        if arrival.oversized is not None:
            raise Refusal("headers_too_large", arrival.oversized)
        if arrival.http_version != "1.1":
            raise Refusal("malformed_request", "The gateway speaks HTTP/1.1.")
        if arrival.method in _NEVER:
            raise MethodNotAllowed(_EVER)
        read, of_peer = self._read, self._of_peer
        target = canonical[arrival.target]
        headers = read(arrival.names, arrival.values)
        source, via_proxy = of_peer(arrival.peer)
        if via_proxy:
            source = self._sources.behind(source, headers.proxied)
        arrival.trace.path = target.shown
        arrival.trace.source = source.text
        return Admitted(arrival, target, headers, source, via_proxy)
