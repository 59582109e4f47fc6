"""The server's protocol on a socket of its own, with small applications behind it.

Invariant: only tests of deadlines have short ones, HASTY's; a machine that stands still is late in no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import uvicorn
from uvicorn.server import ServerState

from gateway.server.exchange import Serve, serve_asgi
from gateway.server.limits import Drain, Limits
from gateway.server.protocol import strict_protocol

App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]

LIMITS = Limits(
    max_connections=50,
    header_timeout_s=30.0,
    body_timeout_s=30.0,
    max_header_bytes=1024,
    max_headers=10,
    max_target_bytes=256,
    write_timeout_s=0.3,
    linger_s=0.2,
    linger_bytes=1 << 20,
)
PLAIN = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"


def replaced(**changes: float) -> Limits:
    return msgspec.structs.replace(LIMITS, **changes)


HASTY = replaced(header_timeout_s=0.2, body_timeout_s=0.2)


def refuse(code: str, _detail: str, _client: str | None) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    status = {"overloaded": 503, "headers_too_large": 431}.get(code, 400)
    body = code.encode()
    return status, [], body


async def answer(send: Any, body: bytes, status: int = 200) -> None:  # noqa: ANN401  an ASGI callable
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def tell_target(scope: dict[str, Any], _receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
    await answer(send, scope["portreeve.target"])


async def tell_body(_scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI callables
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            await answer(send, b"broken" if message["broken"] else b"gone", 400)
            return
        body += message["body"]
        if not message["more_body"]:
            break
    await answer(send, body)


@asynccontextmanager
async def serving(
    app: App,
    limits: Limits = LIMITS,
    keep_alive_s: float = 1.0,
    on_lost: Callable[[], None] = lambda: None,
    drain: Drain | None = None,
    doors: int = 1,
    serve: Serve = serve_asgi,
) -> AsyncIterator[Any]:
    """Yields the address; of several doors, all of theirs."""
    config = uvicorn.Config(app, log_level="critical", lifespan="off", timeout_keep_alive=keep_alive_s)  # type: ignore[arg-type]  # a float serves
    state = ServerState()

    class Build(strict_protocol(limits, refuse, drain, serve)):  # type: ignore[misc]  # a class made at run time
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            on_lost()

    loop = asyncio.get_running_loop()
    servers = [
        await loop.create_server(lambda: Build(config, state, {}), "127.0.0.1", 0) for _ in range(doors)
    ]
    addresses = [server.sockets[0].getsockname() for server in servers]
    try:
        yield addresses[0] if doors == 1 else addresses
    finally:
        for server in servers:
            server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=1)


@asynccontextmanager
async def connected(address: tuple[str, int]) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def exchange(app: App, sent: bytes, limits: Limits = LIMITS) -> bytes:
    """Sends bytes, and returns all that comes until the server closes."""
    async with serving(app, limits) as address, connected(address) as (reader, writer):
        writer.write(sent)
        return await asyncio.wait_for(reader.read(), 5)
