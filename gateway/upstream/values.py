"""What the caller gives: where to, what, and how long it may take. Frozen; nothing here does I/O."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import Literal

from msgspec import Struct, structs

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Timeouts(Struct, frozen=True):
    """Four deadlines, each of which ends the exchange with its own name.

    `connect`: from the call until a connection is there, waiting in line included; a retry gets it anew.
    `first_byte`: from the request wholly handed over until the whole response head. 1xx answers don't count.
    `idle`: while we read and the upstream sends nothing, or while we write and it takes nothing. It stands
        still while a slow client keeps us from reading, or lets us wait for its body: neither is the
        upstream's doing.
    `total`: from the call until the last byte of the response has come from the upstream. Nothing stops it:
        a client that reads for longer loses its response. What has been read by then is still handed out.
    """

    connect_ms: int = 1_000
    first_byte_ms: int = 10_000
    idle_ms: int = 10_000
    total_ms: int = 30_000
    # Derived, in seconds as clocks count: whatever a caller passes is overwritten.
    connect_s: float = 0.0
    first_byte_s: float = 0.0
    idle_s: float = 0.0
    total_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("connect", "first_byte", "idle", "total"):
            structs.force_setattr(self, f"{name}_s", getattr(self, f"{name}_ms") / 1000)


class UpstreamTarget(Struct, frozen=True):
    name: str
    scheme: Literal["http", "https"]
    host: str
    port: int
    max_connections: int = 64
    max_waiting: int = 1_024
    keep_alive_ms: int = 30_000
    tls: ssl.SSLContext | None = None
    server_hostname: str | None = None

    def __post_init__(self) -> None:
        """A scheme and a context that contradict each other would decide silently whether TLS is used."""
        if (self.scheme == "https") != (self.tls is not None):
            raise ValueError(
                f"upstream {self.name}: scheme {self.scheme} and TLS settings contradict each other"
            )

    @property
    def authority(self) -> bytes:
        """The value of Host for this upstream."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = self.port == _DEFAULT_PORTS[self.scheme]
        return (host if default else f"{host}:{self.port}").encode("ascii")


class ResponseLimits(Struct, frozen=True):
    """How much of a response may be anything but body.

    `silence_bytes` bounds what comes between two pieces of body: an unfinished head, trailers, or the
    extensions of one chunk, none of which ever become visible otherwise.
    """

    head_bytes: int = 65_536
    headers: int = 128
    interim: int = 8
    silence_bytes: int = 65_536


class OutboundRequest(Struct, frozen=True):
    """As it goes out: `first` is written at once; `rest`, if any, follows piece by piece, in chunks if its `length` is
    None. `request_head` makes it.
    """

    method: bytes
    first: bytes
    head_only: bool
    rest: AsyncIterator[bytes] | None = None
    length: int | None = None


class PoolStats(Struct, frozen=True):
    """`slots` counts connections and those still being made; `open` counts sockets, closing ones included."""

    slots: int
    idle: int
    open: int
    waiting: int
