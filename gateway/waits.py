"""What a request waits for. Where the room is compiled it needs no task for that, and goes on together with all others.

Whatever works in a task only asks for one first: `own_task`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import compiled
from compiled.tasks import own_task

if compiled.IS_USED:
    from compiled import steps

__all__ = ["own_task", "waits_of"]


def waits_of(loop: asyncio.AbstractEventLoop) -> Callable[[], asyncio.Future[Any]]:
    """Makes what is awaited on a loop: futures, or what passes for one."""
    # It is used as one everywhere, by asyncio too, and only its maker can tell.
    made: Any = partial(steps.Wait, loop) if compiled.IS_USED else loop.create_future
    return made  # type: ignore[no-any-return]
