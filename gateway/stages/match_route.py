"""Third stage: which route this is. A query can never decide it, and nothing undeclared is served."""

from __future__ import annotations

import msgspec

from gateway.routes import Route, RouteTable
from gateway.stages.admit import Admitted


class Routed(msgspec.Struct, frozen=True, gc=False):
    admitted: Admitted
    route: Route


class MatchRoute:
    def __init__(self, table: RouteTable) -> None:
        self._match = table.match

    def __call__(self, admitted: Admitted) -> Routed:
        arrival, match = admitted.arrival, self._match
        route = match(admitted.headers.host, arrival.method, admitted.target.path)
        trace = arrival.trace
        trace.route = route.name
        trace.upstream = route.upstream
        return Routed(admitted, route)
