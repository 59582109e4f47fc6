"""A wait is a future to everybody but the turns that await it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import compiled
from tests.support.compiled import needs_the_room

if compiled.IS_USED:
    from compiled.steps import Wait

pytestmark = needs_the_room

Make = Callable[[], Any]


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
