"""Those who wait for a connection, first come, first served; bounded in number and in time.

Invariant: what was handed to someone who gave up meanwhile goes to the next, or back; it is never lost.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from gateway.upstream.errors import PoolExhausted

Item = TypeVar("Item")


class Line(Generic[Item]):
    def __init__(self, longest: int, give_back: Callable[[Item], None]) -> None:
        self._longest = longest
        self._give_back = give_back
        self.waiting: OrderedDict[asyncio.Future[Item], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self.waiting)

    async def wait(self, seconds: float) -> Item:
        if len(self.waiting) >= self._longest:
            raise PoolExhausted("full")
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[Item] = loop.create_future()
        self.waiting[turn] = None
        timer = loop.call_later(seconds, self._give_up, turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._give_back(turn.result())
            raise
        finally:
            timer.cancel()
            self.waiting.pop(turn, None)

    def hand_over(self, item: Item) -> bool:
        """False if nobody waits."""
        while self.waiting:
            turn, _ = self.waiting.popitem(last=False)
            if not turn.done():
                turn.set_result(item)
                return True
        return False

    def refuse_all(self, error: Exception) -> None:
        while self.waiting:
            turn, _ = self.waiting.popitem(last=False)
            if not turn.done():
                turn.set_exception(error)
                turn.exception()

    def _give_up(self, turn: asyncio.Future[Item]) -> None:
        self.waiting.pop(turn, None)
        if not turn.done():
            turn.set_exception(PoolExhausted("waited"))
