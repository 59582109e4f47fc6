"""A request as it came in: nothing of it is trusted yet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from gateway.server.protocol import StrictProtocol
from gateway.trace import Trace

Header = tuple[bytes, bytes]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class Arrival(Protocol):
    """What the stages see of an exchange: how it came, and nothing of its answer. None of them changes it."""

    @property
    def request_id(self) -> str: ...
    @property
    def at_ms(self) -> int: ...
    @property
    def method(self) -> str: ...
    @property
    def target(self) -> bytes: ...
    @property
    def names(self) -> tuple[bytes, ...]:
        """In any case, in the order of the values."""
        ...

    @property
    def values(self) -> list[bytes]: ...
    @property
    def peer(self) -> str: ...
    @property
    def scheme(self) -> str: ...
    @property
    def http_version(self) -> str: ...
    @property
    def oversized(self) -> str | None: ...
    @property
    def receive(self) -> Receive: ...
    @property
    def trace(self) -> Trace: ...
    @property
    def protocol(self) -> StrictProtocol | None:
        """None: it was made by hand."""
        ...
