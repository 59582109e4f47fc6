"""The wake-up signal against peers that answer anything: it never raises, and never gives up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import cast

import pytest
import redis.exceptions

from storage import wakeup
from storage.redis import Client

Heard = list[dict[str, object] | Exception | None]


def message(text: bytes) -> dict[str, object]:
    return {"type": "message", "data": text}


class FakeSubscription:
    """Says what it was given, then breaks."""

    def __init__(self, script: Heard) -> None:
        self._script = script
        self.pings = 0
        self.closed = False

    async def subscribe(self, channel: str) -> None:
        pass

    async def get_message(self, **_: float) -> dict[str, object] | None:
        heard = self._script.pop(0) if self._script else redis.exceptions.ConnectionError("gone")
        if isinstance(heard, Exception):
            raise heard
        return heard

    async def ping(self) -> None:
        self.pings += 1

    async def aclose(self) -> None:
        self.closed = True


class FakeClient:
    def __init__(self, *scripts: Heard, publishing: Exception | None = None) -> None:
        self.subscriptions = [FakeSubscription(script) for script in scripts]
        self.published: list[tuple[str, str]] = []
        self.closed = False
        self._left = list(self.subscriptions)
        self._publishing = publishing

    def pubsub(self) -> FakeSubscription:
        return self._left.pop(0)

    async def publish(self, channel: str, text: str) -> None:
        if self._publishing is not None:
            raise self._publishing
        self.published.append((channel, text))

    async def aclose(self) -> None:
        self.closed = True


class Pauses:
    """A clock that only writes down how long it was asked to wait."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)


def over(client: FakeClient, pauses: Pauses | None = None) -> wakeup.RedisWakeUp:
    return wakeup.RedisWakeUp(cast("Client", client), sleep=pauses or Pauses())


async def take(announced: AsyncIterator[int], count: int) -> list[int]:
    return [await anext(announced) for _ in range(count)]


async def test_a_revision_is_announced_as_a_number() -> None:
    """Nothing else is on the channel."""
    client = FakeClient()
    await over(client).announce(42)
    assert client.published == [("portreeve:revision", "42")]


@pytest.mark.parametrize(
    "error", [redis.exceptions.ConnectionError("swordfish"), OSError("swordfish"), KeyError("swordfish")]
)
async def test_an_announcement_that_fails_fails_quietly(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """The change stands already; a log line tells of it without repeating the peer's words."""
    with caplog.at_level(logging.WARNING):
        await over(FakeClient(publishing=error)).announce(42)
    assert "42" in caplog.text
    assert "swordfish" not in caplog.text


async def test_an_announcement_that_is_not_taken_is_given_up() -> None:
    """Whoever changed something does not wait for a peer that stands still."""

    class Standing(FakeClient):
        async def publish(self, *_: str) -> None:
            await asyncio.Event().wait()

    announcer = wakeup.RedisWakeUp(cast("Client", Standing()), patience_seconds=0.01)
    async with asyncio.timeout(10):
        await announcer.announce(42)


@pytest.mark.parametrize(
    "forged",
    [b"", b"-1", b"+1", b" 1", b"1.5", b"one", b"\xd9\xa1", b"9" * 20, b"9" * 5000, None, 7],
    ids=repr,
)
async def test_what_is_no_revision_is_passed_over(forged: object) -> None:
    """Anybody who may publish may publish anything."""
    heard: Heard = [{"type": "message", "data": forged}, {"type": "pong", "data": b"3"}, message(b"7")]
    listening = over(FakeClient(heard)).listen()
    assert await anext(listening) == 7


async def test_listening_outlives_a_broken_connection() -> None:
    """It subscribes anew, and the old subscription is closed."""
    client = FakeClient([message(b"1")], [KeyError()], [message(b"2"), message(b"3")])
    assert await take(over(client).listen(), 3) == [1, 2, 3]
    assert [subscription.closed for subscription in client.subscriptions] == [True, True, False]


async def test_pauses_grow_to_a_bound_and_start_anew_after_success() -> None:
    """An outage is not hammered; the next one is met quickly again."""
    away: list[Heard] = [[] for _ in range(8)]
    pauses = Pauses()
    client = FakeClient(*away, [message(b"1")], [message(b"2")])
    await take(over(client, pauses).listen(), 2)
    assert pauses.asked == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 0.1]


@pytest.mark.parametrize(
    ("first", "pings"),
    [([None, {"type": "pong", "data": b""}, message(b"1")], 1), ([None, None, message(b"9")], 1)],
    ids=["answered", "unanswered"],
)
async def test_silence_is_asked_and_a_second_silence_ends_the_connection(first: Heard, pings: int) -> None:
    """A connection whose other end vanished would stay silent for ever."""
    client = FakeClient(first, [message(b"1")])
    assert await anext(over(client).listen()) == 1
    assert client.subscriptions[0].pings == pings


async def test_closing_closes_the_client() -> None:
    """It owns it."""
    client = FakeClient()
    await over(client).aclose()
    assert client.closed


async def test_without_redis_nothing_is_heard_until_cancelled() -> None:
    """Polling alone keeps such a node current."""
    alone = wakeup.NoWakeUp()
    await alone.announce(1)
    waiting = asyncio.ensure_future(anext(alone.listen()))
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await alone.aclose()


def satisfies(wake_ups: Sequence[wakeup.WakeUp]) -> int:
    return len(wake_ups)


def test_both_are_wake_ups() -> None:
    """The type checker reads this one."""
    assert satisfies([wakeup.NoWakeUp(), over(FakeClient())]) == 2
