import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from keys import kms
from keys.attempt import Attempt
from storage import engine


def failing(*failures: Exception | None) -> Callable[[], Awaitable[None]]:
    waiting = iter(failures)

    async def step() -> None:
        failure = next(waiting)
        if failure is not None:
            raise failure

    return step


async def test_a_failure_is_told_once_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    """However long something fails, the log has one line at the beginning and one at the end."""
    caplog.set_level(logging.INFO, "portreeve.keys")
    attempt = Attempt("it rains")
    step = failing(None, kms.KmsUnavailable("x"), kms.KmsUnavailable("x"), None, None)
    assert [await attempt.run(step) for _ in range(5)] == [True, False, False, True, True]
    assert [record.getMessage() for record in caplog.records] == [
        "it rains (KmsUnavailable)",
        "over: it rains",
    ]


async def test_only_the_unforeseen_has_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """An outage is one line; a mistake shows where it was made."""
    await Attempt("a").run(failing(engine.StorageUnavailable("x")))
    await Attempt("b").run(failing(ZeroDivisionError("x")))
    assert [bool(record.exc_info) for record in caplog.records] == [False, True]


async def test_cancellation_passes() -> None:
    """A loop that is told to stop stops."""

    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Attempt("a").run(cancelled)
