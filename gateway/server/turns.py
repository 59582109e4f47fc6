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
        task, turn = self._task, self._turn
        if task is None:
            task = self._task = self._loop.create_task(self._run())
        elif turn is not None:
            self._turn = None
            turn.set_result(None)
        self._tasks.add(task)

    def end(self) -> None:
        """The connection is gone. What is being served learns of it where it next has to do with its client."""
        self._over = True
        turn, self._turn = self._turn, None
        if turn is not None and not turn.done():
            turn.set_result(None)

    async def _run(self) -> None:
        task = self._task
        try:
            while (exchange := self._next) is not None:
                self._next = None
                try:
                    await self._serve(exchange)
                except BaseException as failure:  # noqa: BLE001  the boundary: `_end` decides what goes on
                    _end(exchange, failure)
                else:
                    if not exchange.response_complete:
                        exchange.abort()
                if self._next is None and not self._over:  # type: ignore[redundant-expr]  # it may have come meanwhile
                    self._tasks.discard(task)
                    self._turn = self._loop.create_future()
                    await self._turn
        finally:
            self._tasks.discard(task)
            # A task holds what it runs, and that holds this: nothing here leaves a circle behind.
            self._task = None


def _end(exchange: Exchange, failure: BaseException) -> None:
    """A defect ends its connection, not the server. A request that is cancelled, most likely because the server stops,
    ends its connection too: the client must not wait for an answer.
    """
    exchange.abort()
    if not isinstance(failure, Exception):
        raise failure
    if not isinstance(failure, ClientGone):
        _LOG.error("the application failed", exc_info=failure)
