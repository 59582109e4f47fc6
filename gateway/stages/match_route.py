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
        self._table = table

    def __call__(self, admitted: Admitted) -> Routed:
        arrival = admitted.arrival
        host = admitted.headers.host.decode("ascii")
        route = self._table.match(host, arrival.method, admitted.target.path)
        arrival.trace.route = route.name
        arrival.trace.upstream = route.upstream
        return Routed(admitted, route)
