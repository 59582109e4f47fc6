"""How long a connection may be idle between two requests: one timer for many of them.

A timer that is set and cancelled around every request costs more than looking at a clock; so this one is left running,
and when it rings it asks whether the connection is idle now, and since when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class IdleWatch:
    __slots__ = ("_end", "_loop", "_seconds", "_timer", "_until")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, end: Callable[[], None]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._end = end
        self._until: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        self._until = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._ring)

    def interrupt(self) -> None:
        """Something has arrived: the connection is not idle."""
        self._until = None

    def cancel(self) -> None:
        self._until = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        if self._until is None:
            return
        left = self._until - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._ring)
        else:
            self._end()
