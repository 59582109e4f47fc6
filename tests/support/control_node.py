"""A whole node in this process, on a socket of its own, and an operator's client that signs what it asks.

Invariant: nothing of the node is replaced: its edge, pipeline, store and Litestar are those that `serve` runs. It runs
in the test's loop, so that hundreds of keys can be made without hundreds of commands. What is made of the code or of
files alone is made once a run, not once a node; and the collector is left to the tests, which outlive a node.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import json
import tempfile
import urllib.parse
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from secrets import token_bytes
from types import SimpleNamespace
from typing import Any
from unittest import mock

import msgspec
import uvicorn
from litestar import Litestar
from uvicorn.server import ServerState

from gateway import app as gateway_app
from gateway import clocks, composition, initialise, settings, tokens
from gateway.api import control
from gateway.runtime import Gateway
from gateway.server.limits import Limits
from gateway.server.protocol import strict_protocol
from gateway.upstream import client_context
from gateway.webhooks import assembly
from keys.changes import Author
from keys.custody import Custody
from keys.records import KeyRequest
from tests.support import databases, gateway_config, rawhttp, signing

AUTHOR = Author("test")
SURFACES = ("edge", "control")
LIMITS = Limits(
    max_connections=200,
    header_timeout_s=30,
    body_timeout_s=30,
    max_header_bytes=32_768,
    max_headers=100,
    max_target_bytes=8_192,
)

# Litestar copies routers, and nobody changes a context after `client_context`: what it is made of does not change.
_build_control = functools.cache(control.build)
_client_context = functools.cache(client_context)
_NO_COLLECTOR = SimpleNamespace(
    collect=lambda: 0, freeze=lambda: None, get_threshold=gc.get_threshold, set_threshold=lambda *_: None
)


class Client:
    """Sends one request at a time over one connection, made anew when the node ended it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self,
        signer: signing.Signer | None,
        method: str,
        target: str,
        body: Any = None,  # noqa: ANN401  bytes as they are, or what JSON can tell
        **headers: str,
    ) -> rawhttp.Answer:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        extra = [(name.replace("_", "-"), value) for name, value in headers.items()]
        if raw and "content_type" not in headers:
            extra.append(("Content-Type", "application/json"))
        if signer is None:
            return await self.send(signing.plain_request(method, target.encode(), extra, raw))
        return await self.send(signer.request(method, target.encode(), raw, extra=extra))

    async def send(self, wire: bytes) -> rawhttp.Answer:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        writer.write(wire)
        async with asyncio.timeout(30):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, *lines = head[:-4].split("\r\n")
            pairs = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
            length = next((int(value) for name, value in pairs if name.lower() == "content-length"), 0)
            body = await reader.readexactly(length)
        if ("connection", "close") in pairs:
            await self.close()
        return rawhttp.Answer(int(status.split(" ")[1]), pairs, body)

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            with contextlib.suppress(OSError):
                await self._streams[1].wait_closed()
            self._streams = None


class ControlNode:
    def __init__(
        self, gateway: Gateway, app: Litestar, store: composition.Store, address: tuple[str, int]
    ) -> None:
        self.gateway = gateway
        self.app = app
        self.store = store
        self.address = address
        self.client = Client(address)
        self.ask = self.client.ask

    @property
    def custody(self) -> Custody:
        return self.store.custody

    async def partner(self, partner_id: str) -> None:
        await self.custody.create_partner(partner_id, partner_id.title(), "standard", author=AUTHOR)

    async def key(
        self, *roles: str, partner: str = "acme", environment: str = "live", author: Author = AUTHOR
    ) -> signing.Signer:
        """A key that the node knows of before this returns. Whoever makes several alone is the mind behind all."""
        created = await self.make_key(*roles, partner=partner, environment=environment, author=author)
        await self.gateway.directory.load()
        return created

    async def make_key(
        self, *roles: str, partner: str, environment: str, author: Author = AUTHOR
    ) -> signing.Signer:
        asked = {"partner": partner, "environment": environment, "algorithm": "hmac-sha256", "roles": roles}
        created = await self.custody.create_key(msgspec.convert(asked, KeyRequest), author=author)
        assert created.secret is not None
        return signing.Signer(created.key.id, "hmac-sha256", created.secret.reveal())


@contextlib.asynccontextmanager
async def control_node(
    place: Path,
    policies: gateway_config.Table,
    *,
    storage: str | None = None,
    surfaces: tuple[str, ...] = SURFACES,
    changes: gateway_config.Table | None = None,
    clock: Callable[[], int] = clocks.wall_ms,
) -> AsyncIterator[ControlNode]:
    """With the partners acme and borealis."""
    configured = settings.load(_write(place, policies, storage or "sqlite:portreeve.db", changes or {}))
    if storage is None:
        (place / "portreeve.db").write_bytes(_migrated())
        (place / "portreeve.db").chmod(0o600)
    gateway = Gateway(configured, clock)
    await initialise.initialise(configured, gateway.clock, token_bytes, author=AUTHOR)
    async with serving(gateway, surfaces) as node:
        for partner in ("acme", "borealis"):
            await node.partner(partner)
        yield node


@functools.cache
def _migrated() -> bytes:
    """A SQLite file that is migrated and empty, made once a run."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "migrated.db"
        databases.migrate_all(f"sqlite:{file}")
        return file.read_bytes()


@contextlib.asynccontextmanager
async def serving(gateway: Gateway, surfaces: tuple[str, ...] = SURFACES) -> AsyncIterator[ControlNode]:
    """One more node on the same configuration, and the test's own way to its store."""
    async with (
        _started(gateway, surfaces) as app,
        composition.opened_store(gateway.settings, gateway.clock) as store,
        _listening(gateway, app) as address,
    ):
        node = ControlNode(gateway, app, store, address)
        try:
            yield node
        finally:
            await node.client.close()


@contextlib.asynccontextmanager
async def _started(gateway: Gateway, surfaces: tuple[str, ...]) -> AsyncIterator[Litestar]:
    async with contextlib.AsyncExitStack() as stack:
        with (
            mock.patch.object(control, "build", _build_control),
            mock.patch.object(tokens, "client_context", _client_context),
            mock.patch.object(assembly, "client_context", _client_context),
            mock.patch.object(gateway_app, "gc", _NO_COLLECTOR),
        ):
            app = gateway_app.build(gateway, surfaces)
            await stack.enter_async_context(_living(app))
        yield app


@contextlib.asynccontextmanager
async def _living(app: Litestar) -> AsyncIterator[None]:
    """In a task of its own, as a server runs it: a fixture may begin in one task and end in another."""
    inbox, outbox = asyncio.Queue[dict[str, str]](), asyncio.Queue[dict[str, str]]()
    task = asyncio.create_task(
        app({"type": "lifespan", "state": {}, "app": app}, inbox.get, outbox.put)  # type: ignore[arg-type]  # our own queues
    )
    for phase in ("startup", "shutdown"):
        await inbox.put({"type": f"lifespan.{phase}"})
        told = await outbox.get()
        assert told["type"] == f"lifespan.{phase}.complete", told
        if phase == "startup":
            yield
    await task


@contextlib.asynccontextmanager
async def _listening(gateway: Gateway, app: Litestar) -> AsyncIterator[tuple[str, int]]:
    def refuse(code: str, detail: str, client: str | None) -> Any:  # noqa: ANN401  as the server asks
        return gateway.refuse(code, detail, "r", client or "")

    # As long as the product keeps it: who asks takes seconds to think of what to ask where cores are scarce.
    config = uvicorn.Config(app, log_level="critical", lifespan="off", timeout_keep_alive=75)
    protocol, state = strict_protocol(LIMITS, refuse, None, gateway.edge), ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=1)


def _write(place: Path, policies: gateway_config.Table, storage: str, changes: gateway_config.Table) -> Path:
    nowhere, parts = "http://127.0.0.1:9", urllib.parse.urlsplit(storage)
    url = storage if parts.password is None else storage.replace(f":{parts.password}@", "@", 1)
    document = gateway_config.settings(paper=nowhere, live=nowhere, dead=nowhere, storage=url, redis=None)
    if parts.password is not None:
        # Passwords come by reference only.
        (place / "password").write_text(urllib.parse.unquote(parts.password))
        (place / "password").chmod(0o600)
        document["storage"]["password"] = "file:password"
    file = place / "portreeve.toml"
    file.write_text(gateway_config.to_toml(gateway_config.merged(document, changes)))
    file.chmod(0o600)
    (place / "policies.toml").write_text(gateway_config.to_toml(policies))
    return file
