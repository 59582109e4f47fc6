"""A request as it came in: nothing of it is trusted yet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from gateway.server.protocol import StrictProtocol
from gateway.trace import Trace

Header = tuple[bytes, bytes]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class Arrival(msgspec.Struct, frozen=True, gc=False):
    request_id: str
    at_ms: int
    method: str
    target: bytes
    # In any case, in the order of the values.
    names: tuple[bytes, ...]
    values: list[bytes]
    peer: str
    scheme: str
    http_version: str
    oversized: str | None
    receive: Receive
    trace: Trace
    # None: it was made by hand.
    connection: StrictProtocol | None = None
