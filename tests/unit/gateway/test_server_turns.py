"""The requests of one connection in one task: in order, and each with an end that its client sees."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from gateway.server.exchange import ClientGone, Exchange
from gateway.server.turns import Turns


class FakeExchange:
    def __init__(self, failure: BaseException | None = None) -> None:
        self.failure = failure
        self.response_complete = False
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


def taking(served: list[FakeExchange]) -> tuple[Turns, set[asyncio.Task[None]]]:
    async def serve(exchange: Exchange) -> None:
        fake = cast("FakeExchange", exchange)
        served.append(fake)
        await asyncio.sleep(0)
        if fake.failure is not None:
            raise fake.failure
        fake.response_complete = True

    tasks: set[asyncio.Task[None]] = set()
    return Turns(asyncio.get_running_loop(), tasks, serve), tasks


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_task_serves_one_after_the_other() -> None:
    """And is in the set that a stopping server waits for only while it serves."""
    served: list[FakeExchange] = []
    turns, tasks = taking(served)
    seen: set[Any] = set()
    for _ in range(3):
        exchange = FakeExchange()
        turns.take(cast("Exchange", exchange))
        seen |= tasks
        await settle()
        assert (served[-1], exchange.response_complete, tasks) == (exchange, True, set())
    assert len(seen) == 1
    turns.end()
    await settle()
    assert all(task.done() for task in seen)


@pytest.mark.parametrize("failure", [ClientGone(), ValueError("a defect")])
async def test_a_failure_ends_its_exchange_and_not_the_next_one(failure: Exception) -> None:
    """The client sees that its answer is not whole."""
    served: list[FakeExchange] = []
    turns, tasks = taking(served)
    broken, sound = FakeExchange(failure), FakeExchange()
    turns.take(cast("Exchange", broken))
    await settle()
    turns.take(cast("Exchange", sound))
    await settle()
    assert (broken.aborted, sound.aborted, sound.response_complete) == (True, False, True)
    turns.end()
    await settle()
    assert not tasks


async def test_a_cancelled_exchange_is_ended_and_a_later_one_is_served() -> None:
    """Nobody waits for an answer that will not come."""
    served: list[FakeExchange] = []
    turns, tasks = taking(served)
    cancelled, sound = FakeExchange(asyncio.CancelledError()), FakeExchange()
    turns.take(cast("Exchange", cancelled))
    await settle()
    assert cancelled.aborted
    assert not tasks
    turns.take(cast("Exchange", sound))
    await settle()
    assert sound.response_complete
    turns.end()
    await settle()


async def test_an_exchange_taken_before_the_end_is_still_served() -> None:
    """What came whole before its client went away may have been meant."""
    served: list[FakeExchange] = []
    turns, tasks = taking(served)
    exchange = FakeExchange()
    turns.take(cast("Exchange", exchange))
    turns.end()
    await settle()
    assert exchange.response_complete
    assert not tasks
