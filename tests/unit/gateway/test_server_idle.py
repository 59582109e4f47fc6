"""How long a connection may be idle: told by one timer, which is not set anew for every request."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from gateway.server.idle import IdleWatch

SECONDS = 10.0


class FakeLoop:
    """A clock that is moved by hand, and the timers set on it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Any:  # noqa: ANN401  stands for a timer
        timer = (self.now + seconds, callback)
        self.timers.append(timer)
        return SimpleNamespace(cancel=lambda: self.timers.remove(timer))

    def move_to(self, now: float) -> None:
        self.now = now
        due = [timer for timer in self.timers if timer[0] <= now]
        self.timers = [timer for timer in self.timers if timer[0] > now]
        for _, callback in due:
            callback()


def watched() -> tuple[IdleWatch, FakeLoop, list[float]]:
    loop, told = FakeLoop(), list[float]()
    watch = IdleWatch(cast("Any", loop), SECONDS, lambda: told.append(loop.now))
    watch.start()
    return watch, loop, told


def test_what_is_idle_for_too_long_is_told() -> None:
    """Once its time is over, and not before."""
    _, loop, told = watched()
    loop.move_to(9.9)
    assert not told
    loop.move_to(10)
    assert told == [10]


def test_each_request_begins_the_time_anew() -> None:
    """However many there are, one timer is set."""
    watch, loop, told = watched()
    for now in (0.0, 4.0, 8.0):
        loop.move_to(now)
        watch.since = loop.time()
        assert len(loop.timers) == 1
    loop.move_to(10)
    loop.move_to(17.9)
    assert not told
    loop.move_to(18)
    assert told == [18]


def test_an_idle_time_after_a_long_request_is_told_on_time() -> None:
    """The timer of the time before rang into the request, for whoever knew better."""
    watch, loop, told = watched()
    loop.move_to(10)
    told.clear()
    loop.move_to(15)
    watch.since = loop.time()
    loop.move_to(20)
    loop.move_to(24.9)
    assert not told
    loop.move_to(25)
    assert told == [25]


def test_nothing_rings_after_the_end() -> None:
    """A connection that is gone leaves no timer behind."""
    watch, loop, told = watched()
    watch.stop()
    assert not loop.timers
    loop.move_to(100)
    assert not told
