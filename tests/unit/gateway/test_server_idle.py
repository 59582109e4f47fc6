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
    loop, ended = FakeLoop(), list[float]()
    return IdleWatch(cast("Any", loop), SECONDS, lambda: ended.append(loop.now)), loop, ended


def test_what_is_idle_for_too_long_is_ended() -> None:
    """Once, and not before its time."""
    watch, loop, ended = watched()
    watch.begin()
    loop.move_to(9.9)
    assert not ended
    loop.move_to(10)
    loop.move_to(100)
    assert ended == [10]


def test_each_request_begins_the_time_anew() -> None:
    """However many there are, one timer is set."""
    watch, loop, ended = watched()
    for now in (0.0, 4.0, 8.0):
        loop.move_to(now)
        watch.interrupt()
        watch.begin()
    assert len(loop.timers) == 1
    loop.move_to(10)
    loop.move_to(17.9)
    assert not ended
    loop.move_to(18)
    assert ended == [18]


def test_a_connection_in_use_is_not_ended() -> None:
    """The timer of an earlier idle time rings into a request, and nothing happens until that is over."""
    watch, loop, ended = watched()
    watch.begin()
    watch.interrupt()
    loop.move_to(50)
    assert not ended
    watch.begin()
    loop.move_to(60)
    assert ended == [60]


def test_nothing_rings_after_the_end() -> None:
    """A connection that is gone leaves no timer behind."""
    watch, loop, ended = watched()
    watch.begin()
    watch.cancel()
    assert not loop.timers
    loop.move_to(100)
    assert not ended
