"""What the stages of the pipeline hand on, made by hand: a request that has proved as much as a test needs."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from auth.admission import NOTHING_CHARGED
from gateway import headers, paths, routes
from gateway.arrival import Arrival, Header, Receive
from gateway.server.protocol import StrictProtocol
from gateway.sources import parse_source
from gateway.stages.admit import Admitted
from gateway.stages.admit_once import Counted
from gateway.stages.assert_identity import Asserted
from gateway.stages.authenticate import EMPTY_SHA256, Authenticated
from gateway.stages.authorize import Authorized
from gateway.stages.match_route import Routed
from gateway.trace import Trace
from gateway.upstream import Timeouts

REQUEST_ID = "0123456789abcdef0123456789abcdef"
SOURCE = "203.0.113.9"
READ = routes.Route(
    name="orders",
    pattern="/a",
    methods=("GET",),
    environment="paper",
    upstream="paper",
    permission="orders:read",
    trading=False,
    timeouts=Timeouts(),
)
PUBLIC = msgspec.structs.replace(READ, name="public", permission=None, public=True)


async def receive_nothing() -> dict[str, Any]:
    return {"type": "http.disconnect"}


class HandMade(msgspec.Struct, frozen=True):
    """As it came in, with nobody at the other end."""

    names: tuple[bytes, ...]
    values: list[bytes]
    peer: str
    trace: Trace
    request_id: str = REQUEST_ID
    at_ms: int = 0
    method: str = "GET"
    target: bytes = b"/a"
    scheme: str = "http"
    http_version: str = "1.1"
    oversized: str | None = None
    receive: Receive = receive_nothing
    protocol: StrictProtocol | None = None


def changed(arrival: Arrival, **changes: Any) -> Arrival:  # noqa: ANN401  fields of it
    return msgspec.structs.replace(cast("HandMade", arrival), **changes)


def admitted(*sent: Header, via_proxy: bool = False, source: str = SOURCE) -> Admitted:
    received = [(b"host", b"gateway.example"), *sent]
    names, values = tuple(name for name, _ in received), [value for _, value in received]
    arrival = HandMade(names, values, source, Trace(0, REQUEST_ID, "GET"))
    target = paths.canonical_target(b"/a")
    return Admitted(arrival, target, headers.read(names, values), parse_source(source), via_proxy)


def asserted(request: Admitted, route: routes.Route = PUBLIC, assertion: str | None = None) -> Asserted:
    """Nobody's request on a public route, unless it is told otherwise."""
    authenticated = Authenticated(Routed(request, route), None, None, b"", EMPTY_SHA256)
    return Asserted(Counted(Authorized(authenticated, None), NOTHING_CHARGED), assertion)
