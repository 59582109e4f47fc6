"""Requests on a connection of their own, without a server: each does what it is told to, and tells how it ended.

Invariant: only where the room is compiled; whoever imports this has asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from compiled.steps import Together, Turns, Wait


class Request:
    """`ended`: by what, each time it did. `task`: in which it was last seen."""

    def __init__(self, run: Callable[[], Awaitable[object]]) -> None:
        self.run = run
        self.ended: list[BaseException | None] = []
        self.task: asyncio.Task[Any] | None = None


class Connection:
    def __init__(self, together: Any = None) -> None:  # noqa: ANN401  a Together, where there is the room
        self.tasks: set[Any] = set()
        self.together = together or Together(asyncio.get_running_loop())
        self.turns: Turns[Request] = Turns(self.together, self.tasks, self.serve, self.finish)
        self.finish_raises: BaseException | None = None

    async def serve(self, request: Request) -> None:
        request.task = asyncio.current_task()
        await request.run()
        request.task = asyncio.current_task()

    def finish(self, request: Request, failure: BaseException | None) -> None:
        request.ended.append(failure)
        if self.finish_raises is not None:
            raise self.finish_raises

    def take(self, run: Callable[[], Awaitable[object]]) -> Request:
        request = Request(run)
        self.turns.take(request)
        return request


def make() -> Wait[Any]:
    return Wait(asyncio.get_running_loop())


async def settle() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


def until(awaited: Awaitable[object]) -> Callable[[], Awaitable[object]]:
    async def run() -> None:
        await awaited

    return run


async def nothing() -> None:
    """Ends at once."""


def ends_of(request: Request) -> list[type[BaseException | None]]:
    return [type(each) for each in request.ended]
