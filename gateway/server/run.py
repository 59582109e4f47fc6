"""Runs one worker: uvicorn's server around our protocol, with a drain that load balancers can see."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from gateway.server import listening
from gateway.server.exchange import Header, Serve, serve_asgi, written
from gateway.server.grace import GRACE_S
from gateway.server.limits import Drain, Limits
from gateway.server.protocol import Refuse, StrictProtocol, strict_protocol
from gateway.server.tls import OwnTls


class Worker(uvicorn.Server):
    """On SIGTERM it first says "draining" for as long as configured, still serving; then it stops accepting."""

    def __init__(
        self,
        config: uvicorn.Config,
        protocol: type[StrictProtocol],
        drain_s: float,
        on_drain: Callable[[], None],
        tls: OwnTls | None = None,
    ) -> None:
        super().__init__(config)
        self._tls = tls
        self._drain_s = drain_s
        self._on_drain = on_drain
        self._stop_at: float | None = None
        self._protocol = protocol
        self._default_headers: list[Header] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self._tls is None or sockets is None:
            await super().startup(sockets)
            return
        # As uvicorn does it, but that it has one context for all doors, and a minute for handshakes.
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(STARTUP_FAILURE)
        loop, limits = asyncio.get_running_loop(), self._protocol.limits
        self.servers = [
            await loop.create_server(
                lambda: self._protocol(self.config, self.server_state, self.lifespan.state),
                sock=listener,
                # As many as the protocol knows what to do with.
                ssl=self._tls.door(2 * limits.max_connections),
                ssl_handshake_timeout=limits.header_timeout_s,
                ssl_shutdown_timeout=limits.write_timeout_s,
                backlog=self.config.backlog,
            )
            for listener in sockets
        ]
        self.started = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGINT or self._drain_s == 0 or self._stop_at is not None:
            super().handle_exit(sig, frame)
            return
        self._stop_at = asyncio.get_event_loop().time() + self._drain_s
        self._on_drain()

    async def on_tick(self, counter: int) -> bool:
        if self._stop_at is not None and asyncio.get_running_loop().time() >= self._stop_at:
            self.should_exit = True
        is_over = await super().on_tick(counter)
        headers = self.server_state.default_headers
        if headers is not self._default_headers:
            self._default_headers = headers
            self._protocol.default_lines = written(headers)
        return is_over

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_drain()
        await super().shutdown(sockets)
        # A stop that was asked for is a success; uvicorn would raise the signal again and die of it.
        self._captured_signals.clear()


def run(  # noqa: PLR0913  the composition root names each part
    app: Any,  # noqa: ANN401  an ASGI application
    listeners: list[socket.socket],
    limits: Limits,
    refuse: Refuse,
    *,
    serve: Serve = serve_asgi,
    drain: Drain | None = None,
    keep_alive_s: float,
    drain_s: float,
    on_drain: Callable[[], None],
    tls: OwnTls | None = None,
) -> None:
    protocol = strict_protocol(limits, refuse, drain, serve)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        loop="uvloop",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=listening.BACKLOG,
        timeout_keep_alive=keep_alive_s,  # type: ignore[arg-type]  # annotated int; it is only added to a time
        timeout_graceful_shutdown=GRACE_S,
    )
    Worker(config, protocol, drain_s, on_drain, tls).run(sockets=listeners)
