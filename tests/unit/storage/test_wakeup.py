"""The wake-up signal against peers that answer anything: it never raises, and never gives up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest
import redis.exceptions

from storage import wakeup
from storage.redis import Client

Entry = tuple[bytes, dict[bytes, bytes]]
# What one read brings, what it raises, or (empty) that nothing came.
Read = list[Entry] | Exception


def entry(nth: int, text: bytes | None = None) -> Entry:
    return (b"%d-0" % nth, {b"revision": text or b"%d" % nth})


class FakeStream:
    """Answers what it was given, then breaks. `last`: what stands at its end whenever that is looked at."""

    def __init__(
        self, *reads: Read, last: list[Entry] | None = None, adding: Exception | None = None
    ) -> None:
        self.last = last or []
        self.added: list[tuple[str, dict[str, str], int]] = []
        self.read_from: list[str] = []
        self.closed = 0
        self._reads = list(reads)
        self._adding = adding

    async def xadd(self, key: str, fields: dict[str, str], *, maxlen: int, approximate: bool) -> None:
        if self._adding is not None:
            raise self._adding
        assert approximate
        self.added.append((key, fields, maxlen))

    async def xrevrange(self, _key: str, *, count: int) -> list[Entry]:
        return self.last[:count]

    async def xread(self, streams: dict[str, str], *, count: int, block: int) -> list[Any]:
        assert count
        assert block
        [(key, since)] = streams.items()
        self.read_from.append(since)
        read = self._reads.pop(0) if self._reads else redis.exceptions.ConnectionError("gone")
        if isinstance(read, Exception):
            raise read
        return [[key.encode(), read]] if read else []

    async def aclose(self) -> None:
        self.closed += 1


class Pauses:
    """A clock that only writes down how long it was asked to wait."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)


def over(stream: FakeStream, pauses: Pauses | None = None, chance: int = 255) -> wakeup.RedisWakeUp:
    client = cast("Client", stream)
    return wakeup.RedisWakeUp(
        client, client, sleep=pauses or Pauses(), entropy=lambda size: bytes([chance] * size)
    )


async def take(announced: AsyncIterator[int], count: int) -> list[int]:
    return [await anext(announced) for _ in range(count)]


async def test_a_revision_is_announced_as_a_number() -> None:
    """Nothing else is in the stream, and it stays short."""
    stream = FakeStream()
    await over(stream).announce(42)
    assert stream.added == [("portreeve:revision", {"revision": "42"}, 100)]


@pytest.mark.parametrize(
    "error", [redis.exceptions.ConnectionError("swordfish"), OSError("swordfish"), KeyError("swordfish")]
)
async def test_an_announcement_that_fails_fails_quietly(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """The change stands already; a log line tells of it without repeating the peer's words."""
    with caplog.at_level(logging.WARNING):
        await over(FakeStream(adding=error)).announce(42)
    assert "42" in caplog.text
    assert "swordfish" not in caplog.text


async def test_an_announcement_that_is_not_taken_is_given_up() -> None:
    """Whoever changed something does not wait for a peer that stands still."""

    class Standing(FakeStream):
        async def xadd(self, *_: object, **__: object) -> None:
            await asyncio.Event().wait()

    client = cast("Client", Standing())
    announcer = wakeup.RedisWakeUp(client, client, patience_seconds=0.01)
    async with asyncio.timeout(10):
        await announcer.announce(42)


@pytest.mark.parametrize(
    "forged",
    [b"-1", b"+1", b" 1", b"1.5", b"one", b"\xd9\xa1", b"9" * 20, b"9" * 5000],
    ids=repr,
)
async def test_what_is_no_revision_is_passed_over(forged: bytes) -> None:
    """Anybody who may write to the stream may write anything; what follows it is heard."""
    stream = FakeStream([entry(1, forged), (b"2-0", {b"other": b"3"}), (b"3-0", {})], [entry(7)])
    assert await anext(over(stream).listen()) == 7
    assert stream.read_from == ["0-0", "3-0"]


async def test_a_first_look_tells_the_latest_and_waits_for_what_follows() -> None:
    """What was announced before the node began is told once, and not in full."""
    stream = FakeStream([entry(5)], last=[entry(4)])
    assert await take(over(stream).listen(), 2) == [4, 5]
    assert stream.read_from == ["4-0"]


@pytest.mark.parametrize(
    "error",
    [
        redis.exceptions.ConnectionError("gone"),
        redis.exceptions.BusyLoadingError("loading"),
        redis.exceptions.ReadOnlyError("a replica now"),
        redis.exceptions.ResponseError("UNBLOCKED"),
        KeyError(),
    ],
    ids=repr,
)
async def test_who_was_cut_off_reads_on_from_what_it_saw_last(error: Exception) -> None:
    """A connection that breaks loses nothing of what was announced meanwhile."""
    stream = FakeStream([entry(1)], error, [entry(2), entry(3)], last=[entry(3)])
    source = over(stream)
    source._seen = wakeup._Place(0, 0)
    assert await take(source.listen(), 3) == [1, 2, 3]
    assert stream.read_from == ["0-0", "1-0", "1-0"]


async def test_a_stream_that_began_anew_is_heard() -> None:
    """Flushed, or lost by a failover to a server whose clock is behind: ids that are smaller than the last one seen."""
    stream = FakeStream([entry(9)], [], [entry(3)])
    listening = over(stream).listen()
    assert await anext(listening) == 9
    stream.last = [entry(2)]
    assert await take(listening, 2) == [2, 3]
    assert stream.read_from == ["0-0", "9-0", "2-0"]


async def test_pauses_grow_to_a_bound_and_start_anew_after_success() -> None:
    """An outage is not hammered; the next one is met quickly again."""
    gone = redis.exceptions.ConnectionError("gone")
    pauses = Pauses()
    stream = FakeStream(*[gone] * 8, [entry(1)], gone, [], gone, [entry(2)])
    await take(over(stream, pauses).listen(), 2)
    assert pauses.asked == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 0.1, 0.1]


async def test_nodes_come_back_at_different_moments() -> None:
    """By chance, each within half of its pause."""
    pauses = Pauses()
    gone = redis.exceptions.ConnectionError("gone")
    await take(over(FakeStream(gone, [entry(1)]), pauses, chance=0).listen(), 1)
    assert pauses.asked == [0.05]


async def test_closing_closes_the_clients() -> None:
    """It owns them."""
    stream = FakeStream()
    await over(stream).aclose()
    assert stream.closed == 2


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
    assert satisfies([wakeup.NoWakeUp(), over(FakeStream())]) == 2


async def test_a_server_that_has_vanished_is_given_up() -> None:
    """A connection whose other end is gone would stay silent for ever; the one after it is answered."""

    class Vanished(FakeStream):
        async def xread(self, streams: dict[str, str], *, count: int, block: int) -> list[Any]:
            if not self.read_from:
                self.read_from.append("")
                await asyncio.Event().wait()
            return await super().xread(streams, count=count, block=block)

    client, pauses = cast("Client", Vanished([entry(1)])), Pauses()
    source = wakeup.RedisWakeUp(client, client, patience_seconds=0.01, silence_seconds=0.01, sleep=pauses)
    async with asyncio.timeout(10):
        assert await anext(source.listen()) == 1
    assert len(pauses.asked) == 1
