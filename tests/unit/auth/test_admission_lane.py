"""Group commit against exchanges that answer, stall, fail and miscount."""

import asyncio
from collections.abc import Sequence

import pytest

from auth.admission.lane import Bounds, Lane, Unavailable

PATIENT = Bounds(timeout_s=5.0)
SHORT = Bounds(timeout_s=0.05)


class Exchange:
    """Doubles each question; holds back while the gate is shut, and writes down every batch."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.outage: Unavailable | None = None
        self.cancelled = 0

    async def __call__(self, batch: Sequence[int]) -> list[int | Unavailable]:
        self.batches.append(list(batch))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.outage is not None:
            raise self.outage
        return [Unavailable("refused") if question < 0 else question * 2 for question in batch]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_each_caller_gets_its_own_answer() -> None:
    """However many share a batch."""
    lane = Lane(Exchange(), PATIENT)
    assert await asyncio.gather(*map(lane.ask, range(200))) == [2 * number for number in range(200)]
    await lane.aclose()


async def test_what_arrives_during_an_exchange_goes_out_together() -> None:
    """One exchange in flight, the next one gathers, up to the largest batch."""
    exchange = Exchange()
    lane = Lane(exchange, Bounds(timeout_s=5.0, max_batch=4))
    exchange.gate.clear()
    first = asyncio.create_task(lane.ask(0))
    await settle()
    others = [asyncio.create_task(lane.ask(number)) for number in range(1, 7)]
    await settle()
    assert exchange.batches == [[0]]
    exchange.gate.set()
    await asyncio.gather(first, *others)
    assert exchange.batches == [[0], [1, 2, 3, 4], [5, 6]]
    await lane.aclose()


async def test_a_caller_that_gives_up_in_flight_disturbs_nobody() -> None:
    """The exchange goes on, and the others in the batch are answered."""
    exchange = Exchange()
    lane = Lane(exchange, PATIENT)
    exchange.gate.clear()
    tasks = [asyncio.create_task(lane.ask(number)) for number in range(3)]
    await settle()
    tasks[1].cancel()
    await settle()
    exchange.gate.set()
    assert await tasks[0] == 0
    assert await tasks[2] == 4
    assert tasks[1].cancelled()
    assert exchange.cancelled == 0
    await lane.aclose()


async def test_a_caller_that_gives_up_while_queued_is_never_sent() -> None:
    """What nobody waits for is not asked."""
    exchange = Exchange()
    lane = Lane(exchange, PATIENT)
    exchange.gate.clear()
    tasks = [asyncio.create_task(lane.ask(0))]
    await settle()
    tasks += [asyncio.create_task(lane.ask(number)) for number in (1, 2)]
    await settle()
    tasks[1].cancel()
    exchange.gate.set()
    assert await tasks[0] == 0
    assert await tasks[2] == 4
    assert exchange.batches == [[0], [2]]
    await lane.aclose()


async def test_a_stalled_exchange_is_cancelled_and_the_lane_goes_on() -> None:
    """Its callers are refused as late; the next ones find a lane that works."""
    exchange = Exchange()
    lane = Lane(exchange, SHORT)
    exchange.gate.clear()
    late = await asyncio.gather(*(lane.ask(number) for number in range(3)), return_exceptions=True)
    assert [error.reason for error in late if isinstance(error, Unavailable)] == ["timeout"] * 3
    exchange.gate.set()
    assert await lane.ask(21) == 42
    assert exchange.cancelled == 1
    await lane.aclose()


async def test_a_caller_behind_a_stalled_exchange_waits_no_longer_than_its_own_time() -> None:
    """The time of a caller runs from asking: whoever queued behind a stall is refused with it, and never sent."""
    exchange = Exchange()
    lane = Lane(exchange, Bounds(timeout_s=0.05, max_batch=1))
    exchange.gate.clear()
    errors = await asyncio.gather(*map(lane.ask, range(8)), return_exceptions=True)
    assert [str(error) for error in errors] == ["timeout"] * 8
    assert len(exchange.batches) <= 2
    await lane.aclose()


async def test_an_exchange_that_resists_being_cancelled_holds_nobody() -> None:
    """Callers are answered in time by the lane itself."""
    released = asyncio.Event()

    async def resist(batch: Sequence[int]) -> list[int | Unavailable]:
        try:
            await released.wait()
        except asyncio.CancelledError:
            await released.wait()
        return list(batch)

    lane = Lane(resist, SHORT)
    errors = await asyncio.gather(*map(lane.ask, range(3)), return_exceptions=True)
    assert [str(error) for error in errors] == ["timeout"] * 3
    released.set()
    assert await lane.ask(1) == 1
    await lane.aclose()


async def test_a_full_queue_refuses_at_once() -> None:
    """Waiting is bounded in number as in time."""
    exchange = Exchange()
    lane = Lane(exchange, Bounds(timeout_s=5.0, max_waiting=2))
    exchange.gate.clear()
    in_flight = asyncio.create_task(lane.ask(0))
    await settle()
    queued = [asyncio.create_task(lane.ask(number)) for number in (1, 2)]
    await settle()
    with pytest.raises(Unavailable, match="overloaded"):
        await lane.ask(3)
    exchange.gate.set()
    assert await asyncio.gather(in_flight, *queued) == [0, 2, 4]
    await lane.aclose()


async def test_an_outage_refuses_the_whole_batch_and_nothing_after_it() -> None:
    """Each caller raises for itself."""
    exchange = Exchange()
    lane = Lane(exchange, PATIENT)
    exchange.outage = Unavailable("unreachable")
    errors = await asyncio.gather(*map(lane.ask, range(3)), return_exceptions=True)
    assert [str(error) for error in errors] == ["unreachable"] * 3
    assert len({id(error) for error in errors}) == 3
    exchange.outage = None
    assert await lane.ask(1) == 2
    await lane.aclose()


async def test_one_question_may_be_refused_within_a_batch_that_is_answered() -> None:
    """A refusal can be a caller's own."""
    lane = Lane(Exchange(), PATIENT)
    answers = await asyncio.gather(lane.ask(1), lane.ask(-1), lane.ask(2), return_exceptions=True)
    assert answers[0] == 2
    assert isinstance(answers[1], Unavailable)
    assert answers[2] == 4
    await lane.aclose()


async def test_closing_answers_whoever_waits_and_refuses_whoever_comes() -> None:
    """In flight and queued alike; nobody is left hanging."""
    exchange = Exchange()
    lane = Lane(exchange, Bounds(timeout_s=5.0, max_batch=1))
    exchange.gate.clear()
    tasks = [asyncio.create_task(lane.ask(number)) for number in range(3)]
    await settle()
    await lane.aclose()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(error) for error in errors] == ["closed"] * 3
    with pytest.raises(Unavailable, match="closed"):
        await lane.ask(4)
    await lane.aclose()


async def test_a_lane_keeps_no_timer_once_everyone_is_answered() -> None:
    """Idle means idle: after the last deadline nothing wakes up."""
    lane = Lane(Exchange(), Bounds(timeout_s=0.01))
    assert await lane.ask(1) == 2
    for _ in range(100):
        if lane._watchdog is None:
            break
        await asyncio.sleep(0.01)
    assert lane._watchdog is None
    assert lane._draining is None
    await lane.aclose()
