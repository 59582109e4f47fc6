"""A wait is a future to everybody but the turns that await it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

import compiled
from tests.support.compiled import needs_the_room

if compiled.IS_USED:
    from compiled.steps import Wait

pytestmark = needs_the_room

Make = Callable[[], Any]

_SET: ContextVar[str] = ContextVar("_SET", default="nowhere")


@pytest.fixture(params=["a future", "a wait"])
async def make(request: pytest.FixtureRequest) -> Make:
    """Asked the same, both do the same."""
    loop = asyncio.get_running_loop()
    return loop.create_future if request.param == "a future" else lambda: Wait(loop)


@pytest.mark.parametrize(
    "value", [None, 0, "text", ("a", "tuple"), (), StopIteration("inside"), ValueError("kept")]
)
async def test_awaiting_it_gives_what_came(make: Make, value: object) -> None:
    """Before or after it was awaited, and whatever it is."""
    before, after = make(), make()
    before.set_result(value)
    asyncio.get_running_loop().call_soon(after.set_result, value)
    assert await before is value
    assert await after is value
    assert (after.done(), after.cancelled(), after.result(), after.exception()) == (True, False, value, None)


async def test_awaiting_it_raises_what_was_raised(make: Make) -> None:
    """The very same exception."""
    failed, failure = make(), LookupError("gone")
    asyncio.get_running_loop().call_soon(failed.set_exception, failure)
    with pytest.raises(LookupError) as raised:
        await failed
    assert raised.value is failure
    assert failed.exception() is failure
    with pytest.raises(LookupError):
        failed.result()


async def test_it_is_settled_once(make: Make) -> None:
    """A second answer is a defect of whoever brings it, and changes nothing."""
    settled = make()
    settled.set_result(1)
    with pytest.raises(asyncio.InvalidStateError):
        settled.set_result(2)
    with pytest.raises(asyncio.InvalidStateError):
        settled.set_exception(LookupError())
    assert settled.cancel() is False
    assert settled.result() == 1


async def test_nothing_is_told_before_anything_came(make: Make) -> None:
    """Nor is it done."""
    empty = make()
    assert not empty.done()
    with pytest.raises(asyncio.InvalidStateError):
        empty.result()
    with pytest.raises(asyncio.InvalidStateError):
        empty.exception()
    empty.cancel()


async def test_a_cancelled_task_cancels_what_it_waits_for(make: Make) -> None:
    """So whoever would settle it sees that nobody waits."""
    awaited = make()

    async def wait() -> None:
        await awaited

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (awaited.done(), awaited.cancelled()) == (True, True)
    with pytest.raises(asyncio.CancelledError):
        awaited.exception()


@pytest.mark.parametrize("message", [None, "why"])
async def test_who_gathers_learns_of_one_that_was_cancelled(make: Make, message: str | None) -> None:
    """Before or after it was asked, told apart from what failed, and with what was said."""
    before, after, came = make(), make(), make()
    before.cancel(message)
    loop = asyncio.get_running_loop()
    loop.call_soon(after.cancel, message)
    loop.call_soon(came.set_result, "came")
    results = await asyncio.wait_for(asyncio.gather(before, after, came, return_exceptions=True), 60)
    assert [type(each) for each in results] == [asyncio.CancelledError, asyncio.CancelledError, str]
    assert {str(each) for each in results[:2]} == {message or ""}
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.gather(before), 60)


async def test_asyncio_takes_it_for_a_future(make: Make) -> None:
    """Gathered, shielded, waited for, or with a limit."""
    loop = asyncio.get_running_loop()
    gathered, shielded, waited, limited = [make() for _ in range(4)]
    assert asyncio.isfuture(gathered)
    for each in (gathered, shielded, waited, limited):
        loop.call_later(0, each.set_result, "came")
    assert list(await asyncio.gather(gathered, shielded)) == ["came", "came"]
    assert await asyncio.shield(shielded) == "came"
    done, pending = await asyncio.wait([waited])
    assert (done, pending) == ({waited}, set())
    assert await asyncio.wait_for(limited, 3600) == "came"


async def test_callbacks_are_called_soon_and_those_taken_back_are_not(make: Make) -> None:
    """Once each, with the wait itself."""
    called: list[tuple[str, object]] = []
    settled = make()

    def kept(future: object) -> None:
        called.append(("kept", future))

    def taken_back(future: object) -> None:
        called.append(("taken back", future))

    settled.add_done_callback(kept)
    settled.add_done_callback(taken_back)
    assert settled.remove_done_callback(taken_back) == 1
    settled.set_result(None)
    assert called == []
    await asyncio.sleep(0)
    settled.add_done_callback(kept)
    await asyncio.sleep(0)
    assert called == [("kept", settled)] * 2
    assert settled.get_loop() is asyncio.get_running_loop()


async def test_a_callback_runs_in_the_context_it_was_given_or_added_in(make: Make) -> None:
    """Never in that of whoever settles, whether it was done already or not."""
    seen: list[str] = []

    def look(_: object) -> None:
        seen.append(_SET.get())

    given = copy_context()
    given.run(_SET.set, "given")
    settled = make()
    added = copy_context()
    added.run(_SET.set, "added")
    added.run(settled.add_done_callback, look)
    settled.add_done_callback(look, context=given)
    copy_context().run(lambda: (_SET.set("settling"), settled.set_result(None)))
    added.run(settled.add_done_callback, look)
    settled.add_done_callback(look, context=given)
    await asyncio.sleep(0)
    assert seen == ["added", "given"] * 2


async def test_taking_a_callback_back_leaves_the_others(make: Make) -> None:
    """As often as it was added, in their order; of one that was never added there is none."""
    called: list[int] = []

    def calling(number: int) -> Callable[[object], None]:
        return lambda _: called.append(number)

    callbacks = [calling(number) for number in range(4)]
    settled = make()
    assert settled.remove_done_callback(callbacks[0]) == 0
    for number in (0, 1, 2, 1):
        settled.add_done_callback(callbacks[number])
    assert settled.remove_done_callback(callbacks[1]) == 2
    assert settled.remove_done_callback(callbacks[3]) == 0
    settled.add_done_callback(callbacks[3])
    settled.set_result(None)
    await asyncio.sleep(0)
    assert called == [0, 2, 3]


@pytest.mark.parametrize("error", [StopIteration("a value"), StopIteration, None, 7, int])
async def test_what_cannot_be_raised_where_it_is_awaited_is_refused(make: Make, error: object) -> None:
    """None would be a result, and a StopIteration an end of whoever waits. It can still be settled."""
    empty = make()
    with pytest.raises(TypeError):
        empty.set_exception(error)
    assert not empty.done()
    empty.set_result("came")
    assert await empty == "came"


async def test_the_kind_of_an_exception_stands_for_one(make: Make) -> None:
    """As with a coroutine that raises it."""
    failed = make()
    failed.set_exception(LookupError)
    with pytest.raises(LookupError):
        await failed
    assert isinstance(failed.exception(), LookupError)


async def test_what_is_settled_holds_none_that_asked(make: Make) -> None:
    """Whoever keeps it keeps what came, and not those who waited."""

    class Asking:
        def come(self, _: object) -> None:
            """What is bound to it holds it."""

    settled, asking = make(), Asking()
    settled.add_done_callback(asking.come)
    settled.set_result(None)
    await asyncio.sleep(0)
    gone = weakref.ref(asking)
    del asking
    assert gone() is None
    assert settled.done()


@pytest.mark.parametrize("value", [0, "", False, None])
async def test_what_counts_as_nothing_comes_as_it_is(make: Make, value: object) -> None:
    """Awaited in a task or asked for."""
    settled = make()
    asyncio.get_running_loop().call_soon(settled.set_result, value)
    assert await settled is value
    assert settled.result() is value


async def test_no_value_is_left_where_it_failed(make: Make) -> None:
    """Nor the other way round: who asks for the wrong one is told."""
    failed, came = make(), make()
    failed.set_exception(LookupError("gone"))
    came.set_result("came")
    with pytest.raises(LookupError):
        failed.result()
    assert came.exception() is None
    assert not failed.cancelled()
