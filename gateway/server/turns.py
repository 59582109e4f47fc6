"""The requests of one connection, one after the other, in one task.

Waking a task costs less than making one for each request. Invariant: `tasks`, which a stopping server waits for, holds
the task exactly while it serves.
"""

from __future__ import annotations

import asyncio
import logging

from gateway.server.exchange import ClientGone, Exchange, Serve

_LOG = logging.getLogger("uvicorn.error")


class Turns:
    __slots__ = ("_loop", "_next", "_over", "_serve", "_task", "_tasks", "_turn")

    def __init__(self, loop: asyncio.AbstractEventLoop, tasks: set[asyncio.Task[None]], serve: Serve) -> None:
        self._loop = loop
        self._tasks = tasks
        self._serve = serve
        self._task: asyncio.Task[None] | None = None
        # While the task waits; and what it is to serve next.
        self._turn: asyncio.Future[None] | None = None
        self._next: Exchange | None = None
        self._over = False

    def take(self, exchange: Exchange) -> None:
        """The one before has been answered."""
        self._next = exchange
        task = self._task
        if task is None:
            task = self._task = self._loop.create_task(self._run())
        elif self._turn is not None:
            self._turn.set_result(None)
            self._turn = None
        self._tasks.add(task)

    def end(self) -> None:
        """The connection is gone. What is being served learns of it where it next has to do with its client."""
        self._over = True
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    async def _run(self) -> None:
        task = self._task
        try:
            while True:
                exchange = self._next
                if exchange is not None:
                    self._next = None
                    await self._serve_one(exchange)
                elif self._over:
                    return
                else:
                    self._tasks.discard(task)
                    self._turn = self._loop.create_future()
                    await self._turn
        finally:
            self._tasks.discard(task)
            # A task holds what it runs, and that holds this: nothing here leaves a circle behind.
            self._task = None

    async def _serve_one(self, exchange: Exchange) -> None:
        try:
            await self._serve(exchange)
        except ClientGone:
            exchange.abort()
        except Exception:  # noqa: BLE001  the boundary: a defect ends its connection, not the server
            _LOG.exception("the application failed")
            exchange.abort()
        except BaseException:
            # Cancelled, most likely because the server stops: the client must not wait for an answer.
            exchange.abort()
            raise
        else:
            if not exchange.response_complete:
                exchange.abort()
