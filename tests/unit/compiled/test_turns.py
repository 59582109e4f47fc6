"""The requests of a connection without a task: each waits, is cancelled and ends as one in a task would."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

import compiled
from tests.support.compiled import needs_the_room

if compiled.IS_USED:
    from compiled.steps import Together, Turns, Wait

pytestmark = needs_the_room


class Request:
    """Does what it is told to; `ended` holds by what it did, once it has."""

    def __init__(self, run: Callable[[], Awaitable[object]]) -> None:
        self.run = run
        self.ended: list[BaseException | None] = []
        self.task: asyncio.Task[Any] | None = None


class Connection:
    def __init__(self, together: Any = None) -> None:  # noqa: ANN401  a Together, where there is the room
        self.tasks: set[Any] = set()
        self.together = together or Together(asyncio.get_running_loop())
        self.turns: Turns[Request] = Turns(self.together, self.tasks, self.serve, self.finish)
        self.finish_raises: BaseException | None = None

    async def serve(self, request: Request) -> None:
        request.task = asyncio.current_task()
        await request.run()
        request.task = asyncio.current_task()

    def finish(self, request: Request, failure: BaseException | None) -> None:
        request.ended.append(failure)
        if self.finish_raises is not None:
            raise self.finish_raises

    def take(self, run: Callable[[], Awaitable[object]]) -> Request:
        request = Request(run)
        self.turns.take(request)
        return request


@pytest.fixture
async def connection() -> Connection:
    return Connection()


@pytest.fixture
async def complaints() -> AsyncIterator[list[BaseException]]:
    """What reached the loop because nothing below it took it."""
    loop, seen = asyncio.get_running_loop(), list[BaseException]()
    loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))
    yield seen
    loop.set_exception_handler(None)


def make() -> Wait[Any]:
    return Wait(asyncio.get_running_loop())


async def settle() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


def until(awaited: Awaitable[object]) -> Callable[[], Awaitable[object]]:
    async def run() -> None:
        await awaited

    return run


async def nothing() -> None:
    """Ends at once."""


def ends_of(request: Request) -> list[type[BaseException | None]]:
    return [type(each) for each in request.ended]


# Cancelled -----------------------------------------------------------------------------------------------


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
    """To tidy up, and wait for that; or to end by itself."""
    wait, last, seen = make(), make(), list[str]()

    async def run() -> None:
        try:
            await wait
        except asyncio.CancelledError:
            seen.append("told")
        if not is_done:
            await last

    request = connection.take(run)
    await settle()
    if is_done:
        wait.set_result(None)
    connection.turns.cancel()
    await settle()
    if not is_done:
        assert request.ended == []
        last.set_result(None)
        await settle()
    assert (seen, request.ended, connection.tasks) == (["told"], [None], set())


# Tasks ---------------------------------------------------------------------------------------------------


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
    while not first.ended:
        await asyncio.sleep(0)
    assert connection.tasks == {connection.turns}
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
            iter(done).__next__()
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


# Ends ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [LookupError(), asyncio.CancelledError(), GeneratorExit()])
async def test_what_a_request_raises_ends_it_alone(
    connection: Connection, failure: BaseException, complaints: list[BaseException]
) -> None:
    """At once or after a wait; the next one is served in the same call."""

    async def run() -> None:
        raise failure

    first = connection.take(run)
    await settle()
    wait = make()

    async def run_later() -> None:
        await wait
        raise failure

    second = connection.take(run_later)
    await settle()
    third = connection.take(nothing)
    wait.set_result(None)
    await asyncio.sleep(0)
    assert (first.ended, second.ended, third.ended) == ([failure], [failure], [None])
    assert (complaints, connection.tasks) == ([], set())


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_is_meant_for_the_whole_server_reaches_it(kind: type[BaseException]) -> None:
    """Out of the loop, as from a task; whoever could go on behind it still does."""

    async def run() -> None:
        raise kind

    loop = asyncio.new_event_loop()
    connections: list[Connection] = []
    requests: list[Request] = []

    async def take_all() -> None:
        together = Together(loop)
        connections.extend(Connection(together) for _ in range(3))
        runs = [run, nothing, nothing]
        requests.extend(each.take(of) for each, of in zip(connections, runs, strict=True))
        await asyncio.sleep(0)

    with pytest.raises(kind):
        loop.run_until_complete(take_all())
    loop.run_until_complete(settle())
    gc.collect()
    loop.close()
    assert [ends_of(each) for each in requests] == [[kind], [type(None)], [type(None)]]
    assert [each.tasks for each in connections] == [set()] * 3


async def test_a_server_that_cannot_even_begin_has_failed(connection: Connection) -> None:
    """What it raises before there is a coroutine ends the request as well."""

    def serve(_: Request) -> Any:  # noqa: ANN401  never returns
        raise LookupError

    ended: list[BaseException | None] = []
    turns: Turns[Request] = Turns(
        connection.together, connection.tasks, serve, lambda _, failure: ended.append(failure)
    )
    turns.take(Request(nothing))
    await settle()
    assert [type(each) for each in ended] == [LookupError]
    assert connection.tasks == set()


async def test_an_end_that_fails_holds_up_nobody(complaints: list[BaseException]) -> None:
    """Neither those behind it in the same call, nor the next one of its own connection."""
    together, defect, wait = Together(asyncio.get_running_loop()), ValueError("a defect"), make()
    broken, sound = Connection(together), Connection(together)
    broken.finish_raises = defect
    first = broken.take(until(wait))
    await settle()
    second = broken.take(nothing)
    wait.set_result(None)
    third = sound.take(nothing)
    await settle()
    assert [each.ended for each in (first, second, third)] == [[None]] * 3
    assert complaints == [defect, defect]
    assert broken.tasks == sound.tasks == set()


@pytest.mark.parametrize("wait_first", [False, True])
async def test_one_that_is_taken_where_another_ends_is_served_once(
    connection: Connection, *, wait_first: bool
) -> None:
    """Though it is announced twice: it is not asked to go on before its wait is over."""
    wait = make()
    requests: list[Request] = []

    def finish(request: Request, failure: BaseException | None) -> None:
        request.ended.append(failure)
        if len(requests) == 1:
            requests.append(Request(until(wait)))
            turns.take(requests[1])

    turns: Turns[Request] = Turns(connection.together, connection.tasks, connection.serve, finish)
    requests.append(Request(lambda: asyncio.sleep(0)) if wait_first else Request(nothing))
    turns.take(requests[0])
    await settle()
    assert requests[1].ended == []
    assert connection.tasks == {turns}
    wait.set_result(None)
    await settle()
    assert (requests[1].ended, requests[1].task, connection.tasks) == ([None], None, set())


async def test_one_that_comes_while_another_goes_on_waits_for_the_next_call() -> None:
    """It is not lost among those that are gone through."""
    together = Together(asyncio.get_running_loop())
    first, second = Connection(together), Connection(together)
    requests: list[Request] = []

    async def run() -> None:
        requests.append(second.take(nothing))

    first.take(run)
    await asyncio.sleep(0)
    assert requests[0].ended == []
    await settle()
    assert requests[0].ended == [None]


class CountingLoop:
    """Counts what is called soon, and passes all of it on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.calls = 0

    def call_soon(self, *called: Any, **how: Any) -> asyncio.Handle:  # noqa: ANN401  as the loop takes it
        self.calls += 1
        return self._loop.call_soon(*called, **how)


async def test_the_loop_is_called_once_for_all_that_can_go_on() -> None:
    """That is what they go on together for."""
    loop: Any = CountingLoop(asyncio.get_running_loop())
    together = Together(loop)
    requests = [Connection(together).take(nothing) for _ in range(5)]
    await settle()
    assert [each.ended for each in requests] == [[None]] * 5
    assert loop.calls == 1


# What is left --------------------------------------------------------------------------------------------


class Held:
    """What a request holds."""


@pytest.mark.parametrize("way", ["ends", "fails", "is cancelled", "was a task"])
async def test_a_request_that_is_over_is_held_by_nothing(connection: Connection, way: str) -> None:
    """Neither it nor what it waited for waits for the collector, though its connection lives on."""
    wait = make()
    held = Held()
    gone = weakref.ref(held)

    async def run(_held: Held = held) -> None:
        if way == "was a task":
            await asyncio.sleep(0)
        await wait
        if way == "fails":
            raise LookupError

    gc.disable()
    try:
        request = connection.take(run)
        del held, run
        await settle()
        if way == "is cancelled":
            connection.turns.cancel()
        else:
            wait.set_result(None)
        await settle()
        assert len(request.ended) == 1
        request.ended.clear()
        del request
        assert gone() is None
    finally:
        gc.enable()


async def test_what_came_does_not_hold_the_connection_that_waited(connection: Connection) -> None:
    """Nor the connection what it waited for."""
    wait = make()
    connection.take(until(wait))
    await settle()
    wait.set_result(None)
    await settle()
    assert not [each for each in gc.get_referrers(connection.turns) if type(each) is Wait]
    assert not [each for each in gc.get_referrers(wait) if type(each) is Turns]
