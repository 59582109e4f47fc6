"""What this node tells the others about itself: which revision it serves, since when, and whether it has all of it.

Invariant: a receipt is written beside what it tells of, never before it and never in its way: a store that cannot be
written costs the receipts and nothing else. It is written as soon as a revision is served, again at every heartbeat,
and taken back on a clean stop. Refuses: nothing; a node whose receipts do not arrive is lost to the others, and serves.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib import metadata
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keys.attempt import Attempt
from keys.directory import Applied
from storage import engine, nodes

_LOG: Final = logging.getLogger("portreeve.receipts")
# A store that hangs must not hold up a stop, nor keep a connection from who follows the revision. SQLite's own wait for
# a lock cannot be broken off, and is bounded by the engine.
_PATIENCE_S: Final = 2.0
_FORGOTTEN_AFTER_MS: Final = 3_600_000
_HEARTBEATS_A_LOOK: Final = 60
_DISTINCTION: Final = 4


class Identity(msgspec.Struct, frozen=True):
    """Who this process is among the nodes. `id` is never another process's, on whatever machine and however late."""

    id: str
    host: str
    version: str
    surfaces: tuple[str, ...]


def identify(surfaces: tuple[str, ...], entropy: Callable[[int], bytes]) -> Identity:
    host = socket.gethostname()
    node_id = f"{host}:{os.getpid()}:{entropy(_DISTINCTION).hex()}"
    return Identity(node_id, host, metadata.version("portreeve"), surfaces)


class Receipts:
    def __init__(
        self, engine_: AsyncEngine, identity: Identity, clock: Callable[[], int], heartbeat_ms: int
    ) -> None:
        self.identity = identity
        self._engine = engine_
        self._clock = clock
        self._heartbeat_s = heartbeat_ms / 1000
        self._started_ms = clock()
        self._applied: Applied | None = None
        self._applied_ms = 0
        self._news = asyncio.Event()

    def notice(self, applied: Applied) -> None:
        """Called by whoever applies: it notes the moment, and returns."""
        if self._applied is None or self._applied.revision != applied.revision:
            self._applied_ms = self._clock()
        self._applied = applied
        self._news.set()

    async def run(self) -> None:
        """Reports until it is cancelled."""
        attempt = Attempt("this node's receipts cannot be written; it serves on, and looks lost to others")
        beats = 0
        while True:
            self._news.clear()
            if await attempt.run(self.report) and beats % _HEARTBEATS_A_LOOK == 0:
                await attempt.run(self._prune)
            beats += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat_s):
                    await self._news.wait()

    async def report(self) -> None:
        if self._applied is None:
            return
        async with self._writing() as conn:
            # Looked at now: while the connection was made it may have come further.
            applied, now_ms = self._applied, self._clock()
            receipt = nodes.Receipt(
                id=self.identity.id,
                host=self.identity.host,
                version=self.identity.version,
                surfaces=self.identity.surfaces,
                started_ago_ms=now_ms - self._started_ms,
                revision=applied.revision,
                applied_ago_ms=now_ms - self._applied_ms,
                committed_at=applied.committed_at,
                incomplete=applied.incomplete,
            )
            await nodes.report(conn, receipt)

    async def leave(self) -> None:
        """A clean stop: nobody has to wait for this node to be lost."""
        try:
            async with self._writing() as conn:
                await nodes.remove(conn, self.identity.id)
        except engine.StorageUnavailable as outage:  # no reason to end a clean stop as a failure
            _LOG.warning("this node could not sign off: %s", outage)

    async def _prune(self) -> None:
        async with self._writing() as conn:
            await nodes.prune(conn, _FORGOTTEN_AFTER_MS)

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with asyncio.timeout(_PATIENCE_S), engine.transaction(self._engine) as conn:
                yield conn
        except TimeoutError as cause:
            raise engine.StorageUnavailable("the store did not answer in time") from cause
