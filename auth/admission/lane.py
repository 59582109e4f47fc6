"""Group commit: what arrives while one exchange is in flight goes out together in the next.

Invariants: at most one exchange is in flight and at most `max_waiting` callers queue; every caller has its
answer, or what is said without one, within `timeout_s` of asking, whatever the exchange does; a caller that gives
up disturbs nobody. Refuses: once the queue is full, or the lane closed, at once.

Callers get a future and the exchange calls back: nothing here is a coroutine, because one would be made and resumed
for each request.
"""

from asyncio import Future, TimerHandle, get_running_loop
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec

import compiled
from auth.admission import OutageReason

if compiled.IS_USED:
    from compiled import lane as compiled_lane
    from compiled import steps

Question = TypeVar("Question")
Answer = TypeVar("Answer")
# Who waits for its answer, and until when.
_Waiting = tuple[Question, Future[Answer], float]


class Unavailable(Exception):
    """No answer that could be trusted, and why."""

    def __init__(self, reason: OutageReason) -> None:
        super().__init__(reason)
        self.reason: OutageReason = reason


class Bounds(msgspec.Struct, frozen=True):
    timeout_s: float = 0.25
    max_batch: int = 64
    max_waiting: int = 4096


class Lane(Generic[Question, Answer]):
    """`begin` sets off the exchange of a batch, which ends in one call of `answer` or of `fail`, unless `abandon` was
    called before. `without` says what a question comes to that has no answer. Exceptions among the outcomes are raised.
    """

    def __init__(
        self,
        begin: Callable[[list[Question]], None],
        abandon: Callable[[], None],
        without: Callable[[Question, OutageReason], Answer | Exception],
        bounds: Bounds,
        *,
        is_compiled: bool = compiled.IS_USED,
    ) -> None:
        self._begin = begin
        self._abandon = abandon
        self._without = without
        self._timeout_s = bounds.timeout_s
        self._max_batch = bounds.max_batch
        self._max_waiting = bounds.max_waiting
        # In the order of asking, and so of the deadlines.
        self._queue: deque[_Waiting[Question, Answer]] = deque()
        self._in_flight: list[_Waiting[Question, Answer]] = []
        self._busy = False
        self._closed = False
        self._watchdog: TimerHandle | None = None
        self._still_waiting = _still_waiting_compiled if is_compiled else still_waiting
        self._settle = _settle_compiled if is_compiled else settle
        # Asked for once: each time, the interpreter asks the system in which process it is.
        self._loop = get_running_loop()
        # What passes for a future, and costs less where no task awaits it.
        self._wait: Callable[[], Any] = (
            partial(steps.Wait, self._loop) if is_compiled else self._loop.create_future
        )

    def ask(self, question: Question) -> Future[Answer]:
        loop, queue = self._loop, self._queue
        answer: Future[Answer] = self._wait()
        each = (question, answer, loop.time() + self._timeout_s)
        if self._closed or len(queue) >= self._max_waiting:
            self._settle_without((each,), "closed" if self._closed else "overloaded")
            return answer
        queue.append(each)
        if not self._busy:
            # Soon and not now: whoever asks in the same turn of the loop goes along.
            self._busy = True
            loop.call_soon(self._next)
        return answer

    def answer(self, outcomes: Sequence[Answer | Exception]) -> None:
        """One outcome for each question of the batch, in their order."""
        self._settle(self._in_flight, outcomes)
        self._in_flight = []
        # Not now: who has just arrived asks in this turn of the loop too, and goes along instead of with the one after.
        self._loop.call_soon(self._next)

    def fail(self, reason: OutageReason) -> None:
        self._settle_without(self._in_flight, reason)
        self._in_flight = []
        # Not now: where every exchange fails at once, that would be a call within a call for each batch that waits.
        self._loop.call_soon(self._next)

    def close(self) -> None:
        """Stop; whoever still waits is told `closed`."""
        self._closed = True
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        self._abandon()
        self._settle_without([*self._in_flight, *self._queue], "closed")
        self._in_flight = []
        self._queue.clear()

    def _next(self) -> None:
        waiting, questions = self._take()
        self._in_flight, self._busy = waiting, bool(waiting)
        if waiting:
            if self._watchdog is None:
                self._watchdog = self._loop.call_at(waiting[0][2], self._expire)
            self._begin(questions)

    def _take(self) -> tuple[list[_Waiting[Question, Answer]], list[Question]]:
        """What goes out next. Whoever has given up is left out: what nobody waits for is not asked."""
        queue, most = self._queue, self._max_batch
        while queue:
            if len(queue) <= most:
                taken = list(queue)
                queue.clear()
            else:
                taken = [queue.popleft() for _ in range(most)]
            waiting, questions = self._still_waiting(taken)
            if waiting:
                return waiting, questions
        return [], []

    def _settle_without(self, waiting: Iterable[_Waiting[Question, Answer]], reason: OutageReason) -> None:
        for question, answer, _ in waiting:
            if answer.done():
                continue
            outcome = self._without(question, reason)
            if isinstance(outcome, Exception):
                answer.set_exception(outcome)
            else:
                answer.set_result(outcome)

    def _expire(self) -> None:
        # One timer for everyone: the first that isn't late says when to look again. Under load that is a timer per
        # timeout, not one per request.
        loop = self._loop
        now = loop.time()
        asked = [*self._in_flight, *self._queue]
        late = [each for each in asked if each[2] <= now]
        on_time = asked[len(late) :]
        self._watchdog = loop.call_at(on_time[0][2], self._expire) if on_time else None
        if self._in_flight and self._in_flight[-1][2] <= now:
            # Nobody waits for this exchange any more, but others may be waiting behind it.
            self._in_flight = []
            self._abandon()
            loop.call_soon(self._next)
        self._settle_without(late, "timeout")


def still_waiting(
    taken: list[_Waiting[Question, Answer]],
) -> tuple[list[_Waiting[Question, Answer]], list[Question]]:
    """Those who have not given up, and their questions."""
    waiting = [each for each in taken if not each[1].done()]
    return waiting, [each[0] for each in waiting]


def settle(waiting: list[_Waiting[Question, Answer]], outcomes: Sequence[Answer | Exception]) -> None:
    for (_, answer, _), outcome in zip(waiting, outcomes, strict=True):
        # Done already: the caller was cancelled, or told that it is too late.
        if answer.done():
            continue
        if isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)


def _still_waiting_compiled(
    taken: list[_Waiting[Question, Answer]],
) -> tuple[list[_Waiting[Question, Answer]], list[Question]]:
    return compiled_lane.still_waiting(taken) or still_waiting(taken)


def _settle_compiled(
    waiting: list[_Waiting[Question, Answer]], outcomes: Sequence[Answer | Exception]
) -> None:
    if not compiled_lane.settle(waiting, outcomes):
        settle(waiting, outcomes)
