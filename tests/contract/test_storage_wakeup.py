"""The wake-up over real servers: heard in time, bounded in an outage, and back when the server is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from storage import redis, wakeup
from tests.support import redis_cluster
from tests.support.servers import RedisServer

HEARD_WITHIN = 10.0


def single(url: str) -> redis.RedisSettings:
    return redis.RedisSettings(url)


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[RedisServer]]:
    nodes = [RedisServer(*redis_cluster.ARGUMENTS) for _ in range(3)]
    try:
        for node in nodes:
            node.start()
        redis_cluster.form(nodes)
        yield nodes
    finally:
        for node in nodes:
            node.close()


@pytest.fixture(params=["single", "cluster"])
def settings(request: pytest.FixtureRequest) -> redis.RedisSettings:
    """One server, or a cluster entered through any of its nodes."""
    if request.param == "single":
        return single(request.getfixturevalue("redis_url"))
    nodes: list[RedisServer] = request.getfixturevalue("cluster")
    return redis.RedisSettings(nodes[1].url, cluster=True, timeout_ms=1000)


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[redis.RedisSettings], wakeup.RedisWakeUp]]:
    """Wake-ups that are closed at the end; one that is silent for long is not waited for."""
    made: list[wakeup.RedisWakeUp] = []

    def make(settings: redis.RedisSettings) -> wakeup.RedisWakeUp:
        made.append(wakeup.RedisWakeUp(redis.connect(settings), silence_seconds=0.2))
        return made[-1]

    yield make
    for each in made:
        await each.aclose()


class Ear:
    """Listens in the background, and remembers."""

    def __init__(self, source: wakeup.WakeUp) -> None:
        self.heard: asyncio.Queue[int] = asyncio.Queue()
        self._task = asyncio.create_task(self._listen(source))

    async def _listen(self, source: wakeup.WakeUp) -> None:
        async for revision in source.listen():
            self.heard.put_nowait(revision)

    async def until(self, revision: int, announcer: wakeup.WakeUp) -> None:
        """Announced again and again: who subscribes too late for one hears the next."""
        async with asyncio.timeout(HEARD_WITHIN):
            while True:
                await announcer.announce(revision)
                try:
                    async with asyncio.timeout(0.1):
                        while await self.heard.get() != revision:
                            pass
                except TimeoutError:
                    continue
                return

    async def close(self) -> None:
        self._task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._task


Connect = Callable[[redis.RedisSettings], wakeup.RedisWakeUp]


async def test_what_one_node_announces_every_other_hears(
    settings: redis.RedisSettings, connect: Connect
) -> None:
    """Once for each announcement, in order."""
    announcer = connect(settings)
    ears = [Ear(connect(settings)) for _ in range(2)]
    for ear in ears:
        await ear.until(1, announcer)
        while not ear.heard.empty():
            ear.heard.get_nowait()
    for revision in (2, 3):
        await announcer.announce(revision)
    for ear in ears:
        async with asyncio.timeout(HEARD_WITHIN):
            while await ear.heard.get() != 2:
                pass
            assert await ear.heard.get() == 3
        await ear.close()


async def test_a_server_that_comes_back_is_heard_again(
    new_redis_server: Callable[[], RedisServer], connect: Connect
) -> None:
    """Without a restart of the node, and announcing meanwhile raises nothing."""
    server = new_redis_server()
    announcer, ear = connect(single(server.url)), Ear(connect(single(server.url)))
    await ear.until(1, announcer)
    await asyncio.to_thread(server.stop)
    await announcer.announce(2)
    await asyncio.to_thread(server.start)
    await ear.until(3, announcer)
    await ear.close()


async def test_a_server_that_stands_still_holds_nobody_up(
    new_redis_server: Callable[[], RedisServer], connect: Connect
) -> None:
    """An announcement ends in bounded time; the silence is noticed, and what comes after it heard."""
    server = new_redis_server()
    announcer, ear = connect(single(server.url)), Ear(connect(single(server.url)))
    await ear.until(1, announcer)
    server.pause()
    began = time.monotonic()
    await announcer.announce(2)
    assert time.monotonic() - began < HEARD_WITHIN
    server.resume()
    await ear.until(3, announcer)
    await ear.close()


async def test_a_quiet_channel_stays_open(redis_url: str, connect: Connect) -> None:
    """Silence is asked about, and answered: the same subscription hears what comes later."""
    announcer, listener = connect(single(redis_url)), connect(single(redis_url))
    ear = Ear(listener)
    await ear.until(1, announcer)
    await asyncio.sleep(0.7)  # three times the silence that is asked about
    await announcer.announce(2)
    async with asyncio.timeout(HEARD_WITHIN):
        while await ear.heard.get() != 2:
            pass
    await ear.close()


async def test_a_peer_that_speaks_no_redis_breaks_nothing(connect: Connect) -> None:
    """Neither the announcement nor the listening ends in an error."""

    async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    source = connect(single(f"redis://127.0.0.1:{port}"))
    await source.announce(1)
    ear = Ear(source)
    await asyncio.sleep(0.3)
    await ear.close()
    server.close()
    await server.wait_closed()
