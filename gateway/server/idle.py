"""How long a connection may be idle between two requests: one timer for all of them.

A timer that is set and cancelled around every request costs more than looking at a clock; so this one is left running,
and when it rings, it asks for how long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class IdleWatch:
    """Whoever knows when the connection becomes idle writes the loop's time into `since`.

    `overdue` is called once that is so many seconds ago; whether the connection has been in use since, it must know.
    """

    __slots__ = ("_loop", "_overdue", "_seconds", "_timer", "since")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, overdue: Callable[[], None]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._overdue = overdue
        self._timer: asyncio.TimerHandle | None = None
        self.since = 0.0

    def start(self) -> None:
        self.since = self._loop.time()
        self._timer = self._loop.call_later(self._seconds, self._ring)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # It is a method of whoever holds this.
        self._overdue = _nothing

    def _ring(self) -> None:
        left = self.since + self._seconds - self._loop.time()
        # While the connection is in use, its next idle time has not begun, and will not be over before this one.
        self._timer = self._loop.call_later(left if left > 0 else self._seconds, self._ring)
        if left <= 0:
            self._overdue()


def _nothing() -> None:
    """What happens when nobody watches any more."""
