"""A request that leaves its turn: cancelled, or gone on with in a task, it goes on and ends as one in a task would."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

import compiled
from tests.support.compiled import needs_the_room

if compiled.IS_USED:
    from compiled.steps import Together, Wait
    from tests.support.turned import Connection, ends_of, make, nothing, settle, until

pytestmark = needs_the_room


async def test_one_that_waits_is_told_with_what_was_said(connection: Connection) -> None:
    """By what it waits for, which is over for everybody."""
    wait = make()
    request = connection.take(until(wait))
    await settle()
    assert connection.turns.cancel("why") is True
    assert wait.cancelled()
    await settle()
    assert ends_of(request) == [asyncio.CancelledError]
    assert str(request.ended[0]) == "why"
    assert connection.tasks == set()


@pytest.mark.parametrize("message", [None, "why"])
async def test_one_whose_wait_is_over_is_told_when_it_goes_on(
    connection: Connection, message: str | None
) -> None:
    """It could, and had not yet: what came for it is lost, as with a task."""
    wait, went_on = make(), list[object]()

    async def run() -> None:
        went_on.append(await wait)

    request = connection.take(run)
    await settle()
    wait.set_result("came")
    assert connection.turns.cancel(message) is True
    await settle()
    assert (went_on, ends_of(request)) == ([], [asyncio.CancelledError])
    assert str(request.ended[0]) == (message or "")
    assert connection.tasks == set()


async def test_one_that_has_not_begun_never_does(connection: Connection) -> None:
    """And ends like any other."""
    begun: list[int] = []

    async def run() -> None:
        begun.append(1)

    request = connection.take(run)
    assert connection.turns.cancel() is True
    await settle()
    assert (begun, ends_of(request), connection.tasks) == ([], [asyncio.CancelledError], set())


async def test_one_that_is_cancelled_while_it_runs_is_told_where_it_waits_next(
    connection: Connection,
) -> None:
    """At once, and not when that wait is over."""
    wait = make()

    async def run() -> None:
        assert connection.turns.cancel("why") is True
        await wait

    request = connection.take(run)
    await settle()
    assert wait.cancelled()
    assert ends_of(request) == [asyncio.CancelledError]
    assert str(request.ended[0]) == "why"


async def test_one_that_is_cancelled_while_it_runs_and_becomes_a_task_is_told_there(
    connection: Connection,
) -> None:
    """By the same words."""
    future = asyncio.get_running_loop().create_future()

    async def run() -> None:
        connection.turns.cancel("why")
        await future

    request = connection.take(run)
    await settle()
    assert future.cancelled()
    assert ends_of(request) == [asyncio.CancelledError]
    assert connection.tasks == set()


async def test_one_that_ends_before_it_waits_again_was_not_cancelled(connection: Connection) -> None:
    """Nor is the one after it."""
    wait = make()

    async def run() -> None:
        connection.turns.cancel()

    first = connection.take(run)
    await settle()
    second = connection.take(until(wait))
    await settle()
    assert (first.ended, second.ended) == ([None], [])
    wait.set_result(None)
    await settle()
    assert second.ended == [None]


async def test_where_nothing_is_served_there_is_nothing_to_cancel(connection: Connection) -> None:
    """What comes later is served."""
    assert connection.turns.cancel() is False
    request = connection.take(nothing)
    await settle()
    assert connection.turns.cancel() is False
    assert request.ended == [None]


@pytest.mark.parametrize("is_done", [False, True], ids=["waiting", "in the ready list"])
async def test_one_may_go_on_though_it_was_cancelled(connection: Connection, *, is_done: bool) -> None:
    """To tidy up, and wait for that: it is told once."""
    wait, last, seen = make(), make(), list[object]()

    async def run() -> None:
        try:
            await wait
        except asyncio.CancelledError:
            seen.append("told")
        seen.append(await last)

    request = connection.take(run)
    await settle()
    if is_done:
        wait.set_result(None)
    connection.turns.cancel()
    await settle()
    assert request.ended == []
    last.set_result("came")
    await settle()
    assert (seen, request.ended, connection.tasks) == (["told", "came"], [None], set())


@pytest.mark.parametrize("is_future", [True, False], ids=["a future", "a bare yield"])
async def test_a_task_that_is_cancelled_before_its_first_step_ends(
    connection: Connection, *, is_future: bool
) -> None:
    """The request stands in the middle: it is told there, and so is what it waits for."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    request = connection.take(until(future) if is_future else lambda: asyncio.sleep(0))
    loop.call_soon(lambda: [each.cancel("why") for each in connection.tasks])
    await settle()
    assert ends_of(request) == [asyncio.CancelledError]
    assert future.cancelled() is is_future
    assert connection.tasks == set()
    later = connection.take(nothing)
    await settle()
    assert later.ended == [None]


async def test_a_task_that_is_cancelled_is_counted_as_cancelled(connection: Connection) -> None:
    """Whoever waits for it learns so; a defect has been told of already."""
    request = connection.take(lambda: asyncio.sleep(3600))
    await settle()
    (task,) = connection.tasks
    task.cancel()
    await settle()
    assert task.cancelled()
    assert ends_of(request) == [asyncio.CancelledError]


async def test_a_defect_in_a_task_ends_its_request_alone(
    connection: Connection, complaints: list[BaseException]
) -> None:
    """It was told to whoever is told how requests end, and to nobody else."""

    async def run() -> None:
        await asyncio.sleep(0)
        raise LookupError

    request = connection.take(run)
    await settle()
    gc.collect()
    assert (ends_of(request), complaints, connection.tasks) == ([LookupError], [], set())


async def test_a_task_has_what_was_raised_and_goes_on_after_it(connection: Connection) -> None:
    """One failure is thrown once."""
    loop, seen = asyncio.get_running_loop(), list[object]()
    failed, came = loop.create_future(), loop.create_future()

    async def run() -> None:
        try:
            await failed
        except LookupError as error:
            seen.append(error)
        seen.append(await came)

    request = connection.take(run)
    await settle()
    failure = LookupError()
    failed.set_exception(failure)
    await settle()
    came.set_result("came")
    await settle()
    assert (seen, request.ended) == ([failure, "came"], [None])


async def test_the_next_one_of_a_task_is_in_the_set_from_then_on(connection: Connection) -> None:
    """A stopping server waits for it, too: exactly one stands there at any time."""
    future, wait = asyncio.get_running_loop().create_future(), make()
    first = connection.take(until(future))
    await settle()
    second = connection.take(until(wait))
    assert len(connection.tasks) == 1
    assert connection.turns not in connection.tasks
    future.set_result(None)
    # The task is woken, and ends.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (first.ended, connection.tasks) == ([None], {connection.turns})
    await settle()
    assert (second.task, connection.tasks) == (None, {connection.turns})
    wait.set_result(None)
    await settle()
    assert (second.ended, connection.tasks) == ([None], set())


async def test_a_second_that_awaits_the_same_becomes_a_task() -> None:
    """A wait wakes one of those who need no task, and all others by a callback."""
    together, wait = Together(asyncio.get_running_loop()), make()
    connections = [Connection(together) for _ in range(3)]
    requests = [each.take(until(wait)) for each in connections]
    await settle()
    wait.set_result("came")
    await settle()
    assert [each.ended for each in requests] == [[None]] * 3
    assert [each.task is None for each in requests] == [True, False, False]


@pytest.mark.parametrize("count", [2, 3])
async def test_many_may_await_one_future(count: int) -> None:
    """What one fetches for all: each becomes a task of its own, in the same moment."""
    together, loop = Together(asyncio.get_running_loop()), asyncio.get_running_loop()
    future = loop.create_future()
    requests = [Connection(together).take(until(future)) for _ in range(count)]
    await settle()
    future.set_result("came")
    await settle()
    assert [each.ended for each in requests] == [[None]] * count


async def test_one_that_does_not_await_what_it_yields_is_refused_as_by_a_task(connection: Connection) -> None:
    """A future that is handed out bare is a mistake of whoever does."""

    class Bare:
        def __await__(self) -> Any:  # noqa: ANN401  a generator of what asyncio refuses
            yield asyncio.get_running_loop().create_future()

    request = connection.take(Bare)
    await settle()
    assert ends_of(request) == [RuntimeError]


async def test_one_that_is_given_what_is_over_already_goes_on(connection: Connection) -> None:
    """Not every awaitable looks before it waits."""

    class Hasty:
        def __await__(self) -> Any:  # noqa: ANN401  a generator of what asyncio takes
            done = make()
            next(iter(done.__await__()))
            done.set_result(None)
            yield done

    request = connection.take(Hasty)
    await settle()
    assert request.ended == [None]


async def test_a_wait_of_another_loop_is_refused_as_by_a_task(connection: Connection) -> None:
    """Settled there, it would call this loop from another thread."""
    other = asyncio.new_event_loop()
    request = connection.take(until(Wait(other)))
    await settle()
    other.close()
    assert ends_of(request) == [RuntimeError]
    assert connection.tasks == set()
