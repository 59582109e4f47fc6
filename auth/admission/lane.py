"""Group commit: what arrives while one exchange is in flight goes out together in the next.

Invariants: at most one exchange is in flight and at most `max_waiting` callers queue; every caller has its
answer, or `Unavailable`, within `timeout_s` of asking, whatever the exchange does; a caller that gives up
disturbs nobody. Refuses: once the queue is full, or the lane closed, at once.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import msgspec

from auth.admission import OutageReason

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Unavailable(Exception):
    """No answer that could be trusted, and why."""

    def __init__(self, reason: OutageReason) -> None:
        super().__init__(reason)
        self.reason: OutageReason = reason


class Bounds(msgspec.Struct, frozen=True):
    timeout_s: float = 0.25
    max_batch: int = 64
    max_waiting: int = 4096


class _Waiting(Generic[Question, Answer]):
    __slots__ = ("answer", "deadline", "question")

    def __init__(
        self, question: Question, answer: asyncio.Future[Answer | Unavailable], deadline: float
    ) -> None:
        self.question = question
        self.answer = answer
        self.deadline = deadline

    def settle(self, outcome: Answer | Unavailable) -> None:
        # Done already: the caller was cancelled, or told that it is too late.
        if not self.answer.done():
            self.answer.set_result(outcome)


class Lane(Generic[Question, Answer]):
    """`exchange` answers a batch in order, question by question with an answer or `Unavailable`, or raises
    `Unavailable` for the whole of it, and cleans up after itself when cancelled.
    """

    def __init__(
        self,
        exchange: Callable[[Sequence[Question]], Awaitable[Sequence[Answer | Unavailable]]],
        bounds: Bounds,
    ) -> None:
        self._exchange = exchange
        self._bounds = bounds
        self._queue: deque[_Waiting[Question, Answer]] = deque()
        self._in_flight: list[_Waiting[Question, Answer]] = []
        self._draining: asyncio.Task[None] | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._closed = False

    async def ask(self, question: Question) -> Answer:
        if self._closed:
            raise Unavailable("closed")
        if len(self._queue) >= self._bounds.max_waiting:
            raise Unavailable("overloaded")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._bounds.timeout_s
        answer: asyncio.Future[Answer | Unavailable] = loop.create_future()
        self._queue.append(_Waiting(question, answer, deadline))
        if self._draining is None:
            self._draining = loop.create_task(self._drain())
        if self._watchdog is None:
            self._watchdog = loop.call_at(deadline, self._expire)
        outcome = await answer
        if isinstance(outcome, Unavailable):
            # One value may answer many callers, so each raises its own.
            raise Unavailable(outcome.reason)
        return outcome

    async def aclose(self) -> None:
        """Stop; whoever still waits is answered `closed`."""
        self._closed = True
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        draining = self._draining
        if draining is not None:
            draining.cancel()
            await asyncio.wait([draining])
        self._settle_all([*self._in_flight, *self._queue], Unavailable("closed"))
        self._queue.clear()

    async def _drain(self) -> None:
        try:
            while batch := self._take():
                self._in_flight = batch
                await self._flush(batch)
                self._in_flight = []
        finally:
            # Nothing awaits between finding the queue empty and here, so nobody is left in it unattended.
            self._draining = None

    def _take(self) -> list[_Waiting[Question, Answer]]:
        batch: list[_Waiting[Question, Answer]] = []
        queue = self._queue
        while queue and len(batch) < self._bounds.max_batch:
            waiting = queue.popleft()
            if not waiting.answer.done():
                batch.append(waiting)
        return batch

    async def _flush(self, batch: list[_Waiting[Question, Answer]]) -> None:
        try:
            async with asyncio.timeout(self._bounds.timeout_s):
                answers = await self._exchange([each.question for each in batch])
        except TimeoutError:
            self._settle_all(batch, Unavailable("timeout"))
        except Unavailable as outage:
            self._settle_all(batch, outage)
        else:
            for each, answer in zip(batch, answers, strict=True):
                each.settle(answer)

    def _settle_all(self, batch: Sequence[_Waiting[Question, Answer]], outage: Unavailable) -> None:
        for each in batch:
            each.settle(outage)

    def _expire(self) -> None:
        # One timer for everyone: callers ask in the order of their deadlines, so the first that isn't late
        # says when to look again. Under load that is a timer per timeout, not one per request.
        now = asyncio.get_running_loop().time()
        self._watchdog = None
        for each in (*self._in_flight, *self._queue):
            if each.answer.done():
                continue
            if each.deadline > now:
                self._watchdog = asyncio.get_running_loop().call_at(each.deadline, self._expire)
                return
            each.settle(Unavailable("timeout"))
