"""The requests of a connection without a task: each ends alone, and nothing of it is left."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

import compiled
from tests.support.compiled import needs_the_room

if compiled.IS_USED:
    from compiled.steps import Together, Turns, Wait
    from tests.support.turned import Connection, Request, ends_of, make, nothing, settle, until

pytestmark = needs_the_room


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
