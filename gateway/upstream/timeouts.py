"""One timer per connection, for whichever deadline comes next; a request that goes well costs no timer.

Invariant: `on_passed` is called at most once per deadline that was set last, and never before its time.
Moving a deadline back is two assignments: the timer rings at the old time, sees that it is early, and goes on.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Literal

from gateway.upstream.errors import Deadline

Clock = Callable[[], float]
Awaited = Deadline | Literal["keep_alive"]

_SHORTEST = 0.001  # uvloop counts in milliseconds; less would spin


class Watch:
    __slots__ = ("_armed_for", "_clock", "_deadline", "_loop", "_on_passed", "_timer", "_which")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Clock, on_passed: Callable[[Awaited], None]
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._on_passed = on_passed
        self._deadline = math.inf
        self._armed_for = math.inf
        self._which: Awaited = "total"
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, deadline: float, which: Awaited) -> None:
        """What is waited for from now on; it takes the place of what was waited for before."""
        self._deadline = deadline
        self._which = which
        if deadline < self._armed_for:
            self._arm()

    def ring(self) -> None:
        self._armed_for = math.inf
        if self._clock() < self._deadline:
            self._arm()
        else:
            self._on_passed(self._which)

    def cancel(self) -> None:
        # Nothing rings any more, not even for a deadline that is set later on a dead connection.
        self._armed_for = -math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = self._deadline
        self._timer = self._loop.call_later(max(_SHORTEST, self._deadline - self._clock()), self.ring)
