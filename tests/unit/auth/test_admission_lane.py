"""Group commit against exchanges that answer, stall, fail and miscount."""

import asyncio
from collections.abc import Callable

import pytest

from auth.admission import OutageReason
from auth.admission.lane import Bounds, Lane, Unavailable
from tests.support import optional

PATIENT = Bounds(timeout_s=5.0)
SHORT = Bounds(timeout_s=0.05)


class Exchange:
    """Doubles each question; holds back while the gate is shut, and writes down every batch."""

    lane: Lane[int, int]

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.outage: OutageReason | None = None
        self.abandoned = 0
        self._running: asyncio.Task[None] | None = None

    def begin(self, batch: list[int]) -> None:
        self.batches.append(list(batch))
        self._running = asyncio.ensure_future(self._run(batch))

    def abandon(self) -> None:
        if self._running is not None and not self._running.done():
            self.abandoned += 1
            self._running.cancel()

    async def _run(self, batch: list[int]) -> None:
        await self.gate.wait()
        if self.outage is not None:
            self.lane.fail(self.outage)
        else:
            self.lane.answer([Unavailable("refused") if asked < 0 else asked * 2 for asked in batch])


LaneOver = Callable[[Exchange, Bounds], Lane[int, int]]


@pytest.fixture(params=[False, True], ids=["interpreted", "compiled"])
def lane_over(request: pytest.FixtureRequest) -> LaneOver:
    if request.param:
        optional.require("compiled_room")

    def make(exchange: Exchange, bounds: Bounds) -> Lane[int, int]:
        exchange.lane = Lane(
            exchange.begin,
            exchange.abandon,
            lambda _, reason: Unavailable(reason),
            bounds,
            is_compiled=request.param,
        )
        return exchange.lane

    return make


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_each_caller_gets_its_own_answer(lane_over: LaneOver) -> None:
    """However many share a batch."""
    lane = lane_over(Exchange(), PATIENT)
    assert await asyncio.gather(*map(lane.ask, range(200))) == [2 * number for number in range(200)]
    lane.close()


async def test_what_arrives_during_an_exchange_goes_out_together(lane_over: LaneOver) -> None:
    """One exchange in flight, the next one gathers, up to the largest batch."""
    exchange = Exchange()
    lane = lane_over(exchange, Bounds(timeout_s=5.0, max_batch=4))
    exchange.gate.clear()
    first = asyncio.ensure_future(lane.ask(0))
    await settle()
    others = [asyncio.ensure_future(lane.ask(number)) for number in range(1, 7)]
    await settle()
    assert exchange.batches == [[0]]
    exchange.gate.set()
    await asyncio.gather(first, *others)
    assert exchange.batches == [[0], [1, 2, 3, 4], [5, 6]]
    lane.close()


class Unanswered(Exchange):
    """Its exchanges end where the test says so."""

    def begin(self, batch: list[int]) -> None:
        self.batches.append(list(batch))


async def test_who_asks_in_the_turn_of_an_answer_goes_along_with_those_before(lane_over: LaneOver) -> None:
    """The answer is but one of what the loop has found ready: an exchange for all of it, not one now and one later."""
    exchange = Unanswered()
    lane = lane_over(exchange, PATIENT)
    asked = [lane.ask(0)]
    await settle()
    asked.append(lane.ask(1))
    lane.answer([0])
    asked.append(lane.ask(2))
    await settle()
    assert exchange.batches == [[0], [1, 2]]
    lane.answer([2, 4])
    assert [await each for each in asked] == [0, 2, 4]
    lane.close()


async def test_a_lane_closed_in_the_turn_of_an_answer_asks_nothing_more(lane_over: LaneOver) -> None:
    """Who was to go next is told so, and no exchange begins that nobody would end."""
    exchange = Unanswered()
    lane = lane_over(exchange, PATIENT)
    first = lane.ask(0)
    await settle()
    second = lane.ask(1)
    lane.answer([0])
    lane.close()
    await settle()
    assert exchange.batches == [[0]]
    assert await first == 0
    with pytest.raises(Unavailable, match="closed"):
        await second


async def test_a_caller_that_gives_up_in_flight_disturbs_nobody(lane_over: LaneOver) -> None:
    """The exchange goes on, and the others in the batch are answered."""
    exchange = Exchange()
    lane = lane_over(exchange, PATIENT)
    exchange.gate.clear()
    tasks = [asyncio.ensure_future(lane.ask(number)) for number in range(3)]
    await settle()
    tasks[1].cancel()
    await settle()
    exchange.gate.set()
    assert await tasks[0] == 0
    assert await tasks[2] == 4
    assert tasks[1].cancelled()
    assert exchange.abandoned == 0
    lane.close()


async def test_a_caller_that_gives_up_while_queued_is_never_sent(lane_over: LaneOver) -> None:
    """What nobody waits for is not asked."""
    exchange = Exchange()
    lane = lane_over(exchange, PATIENT)
    exchange.gate.clear()
    tasks = [asyncio.ensure_future(lane.ask(0))]
    await settle()
    tasks += [asyncio.ensure_future(lane.ask(number)) for number in (1, 2)]
    await settle()
    tasks[1].cancel()
    exchange.gate.set()
    assert await tasks[0] == 0
    assert await tasks[2] == 4
    assert exchange.batches == [[0], [2]]
    lane.close()


async def test_a_stalled_exchange_is_cancelled_and_the_lane_goes_on(lane_over: LaneOver) -> None:
    """Its callers are refused as late; the next ones find a lane that works."""
    exchange = Exchange()
    lane = lane_over(exchange, SHORT)
    exchange.gate.clear()
    late = await asyncio.gather(*(lane.ask(number) for number in range(3)), return_exceptions=True)
    assert [error.reason for error in late if isinstance(error, Unavailable)] == ["timeout"] * 3
    exchange.gate.set()
    assert await lane.ask(21) == 42
    assert exchange.abandoned == 1
    lane.close()


async def test_a_caller_behind_a_stalled_exchange_waits_no_longer_than_its_own_time(
    lane_over: LaneOver,
) -> None:
    """The time of a caller runs from asking: whoever queued behind a stall is refused with it, and never sent."""
    exchange = Exchange()
    lane = lane_over(exchange, Bounds(timeout_s=0.05, max_batch=1))
    exchange.gate.clear()
    errors = await asyncio.gather(*map(lane.ask, range(8)), return_exceptions=True)
    assert [str(error) for error in errors] == ["timeout"] * 8
    assert len(exchange.batches) <= 2
    lane.close()


async def test_an_exchange_that_everyone_gave_up_is_abandoned_in_time(
    lane_over: LaneOver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever queued behind it gets the lane: not before the time of those who left is over, and not after."""
    loop, passed_s = asyncio.get_running_loop(), 0.0
    began = loop.time()
    # By a clock that a busy machine does not move.
    monkeypatch.setattr(loop, "time", lambda: began + passed_s)
    exchange = Exchange()
    lane = lane_over(exchange, SHORT)
    exchange.gate.clear()
    left = lane.ask(0)
    await settle()
    passed_s = 0.4 * SHORT.timeout_s
    left.cancel()
    behind = lane.ask(1)
    await settle()
    passed_s = 0.9 * SHORT.timeout_s
    await settle()
    assert (exchange.batches, exchange.abandoned) == ([[0]], 0)
    passed_s = 1.1 * SHORT.timeout_s
    await settle()
    exchange.gate.set()
    await settle()
    assert behind.done()
    assert await behind == 2
    assert (exchange.batches, exchange.abandoned) == ([[0], [1]], 1)
    lane.close()


async def test_exchanges_that_fail_at_once_are_no_calls_within_calls() -> None:
    """Four thousand who wait are told so one batch after the other."""
    lane: Lane[int, int]

    def begin(_: list[int]) -> None:
        lane.fail("unreachable")

    # However slow the machine: none of them gives up before it is told.
    bounds = Bounds(timeout_s=60.0, max_batch=1, max_waiting=4096)
    lane = Lane(begin, lambda: None, lambda _, reason: Unavailable(reason), bounds)
    errors = await asyncio.gather(*map(lane.ask, range(4000)), return_exceptions=True)
    assert {str(error) for error in errors} == {"unreachable"}
    lane.close()


async def test_a_full_queue_refuses_at_once(lane_over: LaneOver) -> None:
    """Waiting is bounded in number as in time."""
    exchange = Exchange()
    lane = lane_over(exchange, Bounds(timeout_s=5.0, max_waiting=2))
    exchange.gate.clear()
    in_flight = asyncio.ensure_future(lane.ask(0))
    await settle()
    queued = [asyncio.ensure_future(lane.ask(number)) for number in (1, 2)]
    await settle()
    with pytest.raises(Unavailable, match="overloaded"):
        await lane.ask(3)
    exchange.gate.set()
    assert await asyncio.gather(in_flight, *queued) == [0, 2, 4]
    lane.close()


async def test_an_outage_refuses_the_whole_batch_and_nothing_after_it(lane_over: LaneOver) -> None:
    """Each caller raises for itself."""
    exchange = Exchange()
    lane = lane_over(exchange, PATIENT)
    exchange.outage = "unreachable"
    errors = await asyncio.gather(*map(lane.ask, range(3)), return_exceptions=True)
    assert [str(error) for error in errors] == ["unreachable"] * 3
    assert len({id(error) for error in errors}) == 3
    exchange.outage = None
    assert await lane.ask(1) == 2
    lane.close()


async def test_one_question_may_be_refused_within_a_batch_that_is_answered(lane_over: LaneOver) -> None:
    """A refusal can be a caller's own."""
    lane = lane_over(Exchange(), PATIENT)
    answers = await asyncio.gather(lane.ask(1), lane.ask(-1), lane.ask(2), return_exceptions=True)
    assert answers[0] == 2
    assert isinstance(answers[1], Unavailable)
    assert answers[2] == 4
    lane.close()


async def test_closing_answers_whoever_waits_and_refuses_whoever_comes(lane_over: LaneOver) -> None:
    """In flight and queued alike; nobody is left hanging."""
    exchange = Exchange()
    lane = lane_over(exchange, Bounds(timeout_s=5.0, max_batch=1))
    exchange.gate.clear()
    tasks = [asyncio.ensure_future(lane.ask(number)) for number in range(3)]
    await settle()
    lane.close()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(error) for error in errors] == ["closed"] * 3
    with pytest.raises(Unavailable, match="closed"):
        await lane.ask(4)
    lane.close()


async def test_a_lane_keeps_no_timer_once_everyone_is_answered(lane_over: LaneOver) -> None:
    """Idle means idle: after the last deadline nothing wakes up."""
    lane = lane_over(Exchange(), Bounds(timeout_s=0.01))
    assert await lane.ask(1) == 2
    for _ in range(100):
        if lane._watchdog is None:
            break
        await asyncio.sleep(0.01)
    assert lane._watchdog is None
    assert not lane._busy
    lane.close()
