"""The requests of one connection, one after the other.

Where the room is compiled, a request runs without a task until it waits for something out of the ordinary; otherwise,
and from then on, in a task. Waking one costs less than making one for each request. Invariant: `tasks`, which a
stopping server waits for, holds what serves exactly while it serves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import compiled
from gateway.server.exchange import ClientGone, Exchange, Serve

if compiled.IS_USED:
    from compiled import steps

_LOG = logging.getLogger("uvicorn.error")


class Turns(Protocol):
    def take(self, exchange: Exchange) -> None:
        """The one before has been answered."""

    def end(self) -> None:
        """The connection is gone. What is being served learns of it where it next has to do with its client."""


class TaskTurns:
    """In one task, which waits between requests."""

    __slots__ = ("_loop", "_next", "_over", "_serve", "_task", "_tasks", "_turn")

    def __init__(self, serve: Serve, loop: asyncio.AbstractEventLoop, tasks: set[asyncio.Task[None]]) -> None:
        self._loop = loop
        self._tasks = tasks
        self._serve = serve
        self._task: asyncio.Task[None] | None = None
        # While the task waits; and what it is to serve next.
        self._turn: asyncio.Future[None] | None = None
        self._next: Exchange | None = None
        self._over = False

    def take(self, exchange: Exchange) -> None:
        self._next = exchange
        task, turn = self._task, self._turn
        if task is None:
            task = self._task = self._loop.create_task(self._run())
            task.add_done_callback(self._end_unbegun)
        elif turn is not None:
            self._turn = None
            turn.set_result(None)
        self._tasks.add(task)

    def end(self) -> None:
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
                except BaseException as failure:
                    finish(exchange, failure)
                    if not isinstance(failure, Exception):
                        raise
                else:
                    finish(exchange, None)
                if self._next is None and not self._over:  # type: ignore[redundant-expr]  # it may have come meanwhile
                    self._tasks.discard(task)
                    self._turn = self._loop.create_future()
                    try:
                        await self._turn
                    except asyncio.CancelledError as cancelled:
                        self._end_next(cancelled)
                        raise
        finally:
            self._tasks.discard(task)
            # A task holds what it runs, and that holds this: nothing here leaves a circle behind.
            self._task = None
            if self._next is not None:
                # Another one was cancelled, which had been answered.
                self.take(self._next)

    def _end_unbegun(self, task: asyncio.Task[None]) -> None:
        """A task that is cancelled before its first step runs nothing, and so ends nothing."""
        if self._task is task:
            self._tasks.discard(task)
            self._task = None
            self._end_next(asyncio.CancelledError())

    def _end_next(self, cancelled: asyncio.CancelledError) -> None:
        """What was cancelled before it began ends as if it had."""
        exchange, self._next = self._next, None
        if exchange is not None:
            finish(exchange, cancelled)


def finish(exchange: Exchange, failure: BaseException | None) -> None:
    """A defect ends its connection, not the server. A request that is cancelled, most likely because the server stops,
    ends its connection too: the client must not wait for an answer.
    """
    if failure is not None or not exchange.response_complete:
        exchange.abort()
    if isinstance(failure, Exception) and not isinstance(failure, ClientGone):
        _LOG.error("the application failed", exc_info=failure)


# For a connection: its loop, and the set that a stopping server waits for.
TurnsOf = Callable[[asyncio.AbstractEventLoop, set[Any]], Turns]


class _Together:
    """Makes the turns of one server's connections, which go on together."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(self, loop: asyncio.AbstractEventLoop, tasks: set[Any]) -> Turns:
        if self._loop is not loop:
            self._loop, self._together = loop, steps.Together(loop)
        return steps.Turns(self._together, tasks, self._serve, finish)


def turns_of_a_server(serve: Serve) -> TurnsOf:
    return _Together(serve) if compiled.IS_USED else in_tasks(serve)


def in_tasks(serve: Serve) -> TurnsOf:
    return partial(TaskTurns, serve)
