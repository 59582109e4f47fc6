"""How a request waits, and whether it does so in a task.

Where the room is compiled, an ordinary request has no task. It goes on together with all others that can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import compiled

if compiled.IS_USED:
    from compiled import steps


def waits_of(loop: asyncio.AbstractEventLoop) -> Callable[[], asyncio.Future[Any]]:
    """Makes what is awaited on a loop: futures, or what passes for one."""
    # It is used as one everywhere, by asyncio too, and only its maker can tell.
    made: Any = partial(steps.Wait, loop) if compiled.IS_USED else loop.create_future
    return made  # type: ignore[no-any-return]


async def own_task() -> None:
    """For what works in a task only, such as a time limit: from here on the request runs in one."""
    if asyncio.current_task() is None:
        await asyncio.sleep(0)
