"""One timer per connection, for whichever deadline comes next; a request that goes well costs no timer.

Invariant: `on_passed` is called at most once per deadline that was set last, and never before its time.
Moving a deadline back is two assignments: the timer rings at the old time, sees that it is early, goes on.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Literal

import compiled
from gateway.upstream.errors import Deadline
from gateway.upstream.values import Timeouts

if compiled.IS_USED:
    from compiled.exchanges import OrdinaryDeadlines

Clock = Callable[[], float]
Awaited = Deadline | Literal["keep_alive"]

_SHORTEST = 0.001  # uvloop counts in milliseconds; less would spin


class Deadlines:
    """What a connection waits for, told in the words of `Timeouts`; each new wait replaces the last."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Clock, on_passed: Callable[[Awaited], None]
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._on_passed = on_passed
        self._timeouts = Timeouts()
        self.total_at = math.inf
        self._deadline = math.inf
        self._armed_for = math.inf
        self._which: Awaited = "total"
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, timeouts: Timeouts, now: float, total_at: float) -> None:
        """An exchange, which begins by waiting for the head unless another wait is told."""
        self._timeouts = timeouts
        self.total_at = total_at
        deadline = now + timeouts.first_byte_s
        # As `_expect` does it; every request comes here, and a call would cost as much again.
        if deadline < total_at:
            self._deadline = deadline
            self._which = "first_byte"
        else:
            self._deadline = total_at
            self._which = "total"
        if self._deadline < self._armed_for:
            self._arm()

    def await_head(self) -> None:
        self._expect(self._clock() + self._timeouts.first_byte_s, "first_byte")

    def await_progress(self) -> None:
        """The upstream's turn, to send or to take."""
        self._expect(self._clock() + self._timeouts.idle_s, "idle")

    def await_caller(self) -> None:
        """Our own side is slow, so no more than the total runs."""
        self._expect(self.total_at, "total")

    def await_next(self, until: float) -> None:
        """Between two exchanges no total runs."""
        self._deadline = until
        self._which = "keep_alive"
        if until < self._armed_for:
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

    def _expect(self, deadline: float, which: Awaited) -> None:
        """What is waited for from now on, but never past the total."""
        if deadline >= self.total_at:
            deadline, which = self.total_at, "total"
        self._deadline = deadline
        self._which = which
        if deadline < self._armed_for:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = self._deadline
        self._timer = self._loop.call_later(max(_SHORTEST, self._deadline - self._clock()), self.ring)


if compiled.IS_USED:

    class CompiledDeadlines(OrdinaryDeadlines, Deadlines):
        """The waits of the ordinary exchange are told in C; what they are kept in is shared."""
