"""The requests of one connection: in order, and each with an end that its client sees, in a task or without one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

import pytest

from gateway.server import turns as server_turns
from gateway.server.exchange import ClientGone, Exchange, Serve
from gateway.server.turns import Turns, TurnsOf, in_tasks, turns_of_a_server
from gateway.waits import own_task, waits_of
from tests.support import optional


class FakeExchange:
    def __init__(self, wait: Callable[[], Any] = lambda: asyncio.sleep(0)) -> None:
        self.wait = wait
        self.response_complete = False
        self.aborted = False
        self.began = False
        self.tasks: list[asyncio.Task[Any] | None] = []

    def abort(self) -> None:
        self.aborted = True


def failing(failure: BaseException) -> Callable[[], Any]:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise failure

    return fail


async def serve(exchange: Exchange) -> None:
    fake = cast("FakeExchange", exchange)
    fake.began = True
    fake.tasks.append(asyncio.current_task())
    await fake.wait()
    fake.tasks.append(asyncio.current_task())
    fake.response_complete = True


@pytest.fixture(params=["in a task", "together"])
def turns_of(request: pytest.FixtureRequest) -> TurnsOf:
    if request.param == "in a task":
        return in_tasks(serve)
    optional.require("compiled_room")
    return turns_of_a_server(serve)


@pytest.fixture
def together() -> TurnsOf:
    optional.require("compiled_room")
    return turns_of_a_server(serve)


def taking(turns_of: TurnsOf) -> tuple[Turns, set[Any]]:
    tasks: set[Any] = set()
    return turns_of(asyncio.get_running_loop(), tasks), tasks


def take(turns: Turns, exchange: FakeExchange) -> FakeExchange:
    turns.take(cast("Exchange", exchange))
    return exchange


async def settle() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


async def test_one_is_served_after_the_other(turns_of: TurnsOf) -> None:
    """And something is in the set that a stopping server waits for only while it serves."""
    turns, tasks = taking(turns_of)
    for _ in range(3):
        exchange = take(turns, FakeExchange())
        assert len(tasks) == 1
        await settle()
        assert (exchange.response_complete, exchange.aborted, tasks) == (True, False, set())
    turns.end()
    await settle()
    assert not tasks


async def test_the_next_one_waits_for_the_one_before(turns_of: TurnsOf) -> None:
    """Answers leave in the order of their requests."""
    turns, tasks = taking(turns_of)
    arrived = waits_of(asyncio.get_running_loop())()
    first = take(turns, FakeExchange(lambda: arrived))
    await settle()
    second = take(turns, FakeExchange())
    await settle()
    assert (first.began, first.response_complete, second.began) == (True, False, False)
    arrived.set_result(None)
    await settle()
    assert (first.response_complete, second.response_complete, tasks) == (True, True, set())


@pytest.mark.parametrize("making", [in_tasks, turns_of_a_server])
async def test_one_that_is_not_answered_loses_its_connection(making: Callable[[Serve], TurnsOf]) -> None:
    """Whoever waits for the rest of an answer learns that there is none."""

    async def leave(_: Exchange) -> None:
        await asyncio.sleep(0)

    exchange = FakeExchange()
    take(making(leave)(asyncio.get_running_loop(), set()), exchange)
    await settle()
    assert exchange.aborted


@pytest.mark.parametrize("failure", [ClientGone(), ValueError("a defect")])
async def test_a_failure_ends_its_exchange_and_not_the_next_one(
    turns_of: TurnsOf, failure: Exception, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client sees that its answer is not whole; a defect is told, and a client that went away is not."""
    # A server that ran before in this process may have taken the usual one aside.
    monkeypatch.setattr(server_turns, "_LOG", logging.getLogger("tests.turns"))
    turns, tasks = taking(turns_of)
    broken = take(turns, FakeExchange(failing(failure)))
    await settle()
    sound = take(turns, FakeExchange())
    await settle()
    assert (broken.aborted, sound.aborted, sound.response_complete) == (True, False, True)
    assert [record.message for record in caplog.records] == (
        [] if isinstance(failure, ClientGone) else ["the application failed"]
    )
    turns.end()
    await settle()
    assert not tasks


async def test_a_cancelled_exchange_is_ended_and_a_later_one_is_served(turns_of: TurnsOf) -> None:
    """Nobody waits for an answer that will not come."""
    turns, tasks = taking(turns_of)
    cancelled = take(turns, FakeExchange(failing(asyncio.CancelledError())))
    await settle()
    assert (cancelled.aborted, tasks) == (True, set())
    sound = take(turns, FakeExchange())
    await settle()
    assert sound.response_complete
    turns.end()
    await settle()


@pytest.mark.parametrize("awaited", ["a wait", "a future", "nothing that ends"])
async def test_what_a_stopping_server_cancels_ends(turns_of: TurnsOf, awaited: str) -> None:
    """Whatever it waits for; and all that are served are cancelled in one look through the set."""
    loop = asyncio.get_running_loop()
    waits: dict[str, Callable[[], Any]] = {
        "a wait": waits_of(loop),
        "a future": loop.create_future,
        "nothing that ends": lambda: asyncio.sleep(3600),
    }
    tasks: set[Any] = set()
    exchanges = [take(turns_of(loop, tasks), FakeExchange(waits[awaited])) for _ in range(3)]
    await settle()
    assert len(tasks) == 3
    for each in tasks:
        each.cancel(msg="the server stops")
    await settle()
    assert [each.aborted for each in exchanges] == [True] * 3
    assert not tasks


@pytest.mark.parametrize("served_before", [False, True])
async def test_what_is_cancelled_before_it_begins_ends(turns_of: TurnsOf, *, served_before: bool) -> None:
    """It never begins, its client need not wait for an answer, and a stopping server not for it."""
    turns, tasks = taking(turns_of)
    if served_before:
        take(turns, FakeExchange())
        await settle()
    exchange = take(turns, FakeExchange())
    for each in tasks:
        each.cancel(msg="the server stops")
    await settle()
    assert (exchange.began, exchange.aborted, tasks) == (False, True, set())
    later = take(turns, FakeExchange())
    await settle()
    assert (later.response_complete, later.aborted) == (True, False)
    turns.end()
    await settle()
    assert not tasks


async def test_what_stands_behind_one_that_is_cancelled_is_served(turns_of: TurnsOf) -> None:
    """It came when its predecessor had been answered, and was not cancelled."""
    turns, tasks = taking(turns_of)
    first = take(turns, FakeExchange(asyncio.get_running_loop().create_future))
    await settle()
    second = take(turns, FakeExchange())
    for each in tuple(tasks):
        each.cancel()
    await settle()
    assert (first.aborted, first.response_complete) == (True, False)
    assert (second.aborted, second.response_complete, tasks) == (False, True, set())
    turns.end()
    await settle()


async def test_an_exchange_taken_before_the_end_is_still_served(turns_of: TurnsOf) -> None:
    """What came whole before its client went away may have been meant."""
    turns, tasks = taking(turns_of)
    exchange = take(turns, FakeExchange())
    turns.end()
    await settle()
    assert (exchange.response_complete, tasks) == (True, set())


async def test_an_ordinary_one_runs_without_a_task(together: TurnsOf) -> None:
    """As long as it awaits nothing but a wait."""
    turns, tasks = taking(together)
    arrived = waits_of(asyncio.get_running_loop())()
    exchange = take(turns, FakeExchange(lambda: arrived))
    await settle()
    assert tasks == {turns}
    arrived.set_result(None)
    await settle()
    assert (exchange.tasks, tasks) == ([None, None], set())


@pytest.mark.parametrize("wait", [lambda: asyncio.sleep(0), own_task])
async def test_one_out_of_the_ordinary_becomes_a_task(together: TurnsOf, wait: Callable[[], Any]) -> None:
    """From where it stands, so that what works in a task only works there."""
    turns, tasks = taking(together)
    exchange = take(turns, FakeExchange(wait))
    await settle()
    before, after = exchange.tasks
    assert before is None
    assert after is not None
    assert (exchange.response_complete, tasks) == (True, set())


async def test_a_request_that_became_a_task_still_awaits_waits(together: TurnsOf) -> None:
    """And has what came, or what was raised."""
    loop = asyncio.get_running_loop()
    came: list[object] = []
    waits = [waits_of(loop)() for _ in range(3)]

    async def wait() -> None:
        await own_task()
        came.append(await waits[0])
        try:
            await waits[1]
        except LookupError as error:
            came.append(error)
        async with asyncio.timeout(3600):
            came.append(await waits[2])

    turns, _ = taking(together)
    exchange = take(turns, FakeExchange(wait))
    await settle()
    failure = LookupError()
    waits[0].set_result(("a", "pair"))
    waits[1].set_exception(failure)
    await settle()
    waits[2].set_result("late")
    await settle()
    assert came == [("a", "pair"), failure, "late"]
    assert exchange.response_complete


async def test_whoever_is_served_next_by_a_task_runs_without_one_again(together: TurnsOf) -> None:
    """A request that came while a task served is not begun inside of it."""
    turns, tasks = taking(together)
    take(turns, FakeExchange())
    await asyncio.sleep(0)
    arrived = waits_of(asyncio.get_running_loop())()
    second = take(turns, FakeExchange(lambda: arrived))
    await settle()
    assert second.tasks == [None]
    arrived.set_result(None)
    await settle()
    assert (second.response_complete, tasks) == (True, set())


async def test_those_that_can_go_on_do_so_together(together: TurnsOf) -> None:
    """In one call of the loop, in the order in which they could."""
    loop = asyncio.get_running_loop()
    order: list[int] = []
    waits = [waits_of(loop)() for _ in range(4)]

    def waiting(number: int) -> Callable[[], Any]:
        async def wait() -> None:
            await waits[number]
            order.append(number)

        return wait

    tasks: set[Any] = set()
    for number in range(4):
        take(together(loop, tasks), FakeExchange(waiting(number)))
    await settle()
    for number in (2, 0, 3, 1):
        waits[number].set_result(None)
    assert order == []
    await asyncio.sleep(0)
    assert (order, tasks) == ([2, 0, 3, 1], set())


async def test_loops_do_not_share_who_goes_on() -> None:
    """One server's class is used on one loop after another by tests, and its connections stay on theirs."""
    optional.require("compiled_room")
    turns_of = turns_of_a_server(serve)
    here = take(taking(turns_of)[0], FakeExchange())

    def elsewhere() -> bool:
        async def serve_there() -> bool:
            exchange = take(taking(turns_of)[0], FakeExchange())
            await settle()
            return exchange.response_complete

        return asyncio.run(serve_there())

    assert await asyncio.to_thread(elsewhere)
    await settle()
    assert here.response_complete
