"""The wake-up over real servers: heard in time, bounded in an outage, and back when the server is."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from auth.admission import Bucket
from auth.admission.redis import RedisAdmission
from policies.gcra import Limit
from storage import redis, wakeup
from tests.support import redis_cluster
from tests.support.admissions import admission
from tests.support.servers import RedisServer

HEARD_WITHIN = 10.0
SILENCE_S = 0.2
PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


class Connect(Protocol):
    def __call__(self, settings: redis.RedisSettings, sleep: wakeup.Sleep = ...) -> wakeup.RedisWakeUp: ...


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
async def connect() -> AsyncIterator[Connect]:
    """Wake-ups that are closed at the end; one that is silent for long is not waited for."""
    made: list[wakeup.RedisWakeUp] = []

    def make(settings: redis.RedisSettings, sleep: wakeup.Sleep = asyncio.sleep) -> wakeup.RedisWakeUp:
        listening = redis.connect(settings, patient=True)
        made.append(
            wakeup.RedisWakeUp(redis.connect(settings), listening, silence_seconds=SILENCE_S, sleep=sleep)
        )
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


async def test_what_was_announced_meanwhile_is_heard_afterwards(
    new_redis_server: Callable[[], RedisServer], connect: Connect
) -> None:
    """A node that lost its connection for a moment is woken by what it missed, though nobody announces it again."""
    server = new_redis_server()
    cut, again = asyncio.Event(), asyncio.Event()

    async def pause(_: float) -> None:
        cut.set()
        await again.wait()

    announcer = connect(single(server.url))
    again.set()
    ear = Ear(connect(single(server.url), pause))
    await ear.until(1, announcer)
    cut.clear()
    again.clear()
    server.ask(b"CLIENT KILL TYPE normal\r\n")
    async with asyncio.timeout(HEARD_WITHIN):
        await cut.wait()
        await connect(single(server.url)).announce(2)
        again.set()
        while await ear.heard.get() != 2:
            pass
    await ear.close()


async def test_a_stream_that_was_lost_is_followed_anew(
    new_redis_server: Callable[[], RedisServer], connect: Connect
) -> None:
    """Ids that begin again below the last one seen: a flushed server, or one whose clock is behind."""
    server = new_redis_server()
    announcer, ear = connect(single(server.url)), Ear(connect(single(server.url)))
    await ear.until(1, announcer)
    server.ask(f"XADD {wakeup.STREAM} 9999999999999-0 revision 2\r\n".encode())
    async with asyncio.timeout(HEARD_WITHIN):
        while await ear.heard.get() != 2:
            pass
    server.flush()
    await ear.until(3, announcer)
    await ear.close()


async def test_a_failover_is_followed(new_redis_server: Callable[..., RedisServer], connect: Connect) -> None:
    """A primary becomes a replica of one that never had the stream, and later takes over from that: the node, which
    the change of roles unblocks, hears what is announced then.
    """
    at_once = ("--repl-diskless-sync-delay", "0")
    server, other = new_redis_server(*at_once), new_redis_server(*at_once)
    announcer, ear = connect(single(server.url)), Ear(connect(single(server.url)))
    await ear.until(1, announcer)
    server.ask(f"REPLICAOF 127.0.0.1 {other.port}\r\n".encode())
    await announcer.announce(2)
    await asyncio.to_thread(
        redis_cluster.wait_until, lambda: b"master_link_status:up" in server.ask(b"INFO replication\r\n")
    )
    server.ask(b"REPLICAOF NO ONE\r\n")
    await ear.until(3, announcer)
    await ear.close()


async def test_the_stream_stays_short(redis_url: str, connect: Connect) -> None:
    """However many changes there are."""
    announcer = connect(single(redis_url))
    for revision in range(400):
        await announcer.announce(revision)
    assert await announcer._announcing.xlen(wakeup.STREAM) <= 200


@pytest.mark.parametrize("kind", ["single", "cluster"])
async def test_the_documented_rights_are_enough(
    kind: str, request: pytest.FixtureRequest, connect: Connect
) -> None:
    """An account that may do nothing but what the page of the configuration names: nonces, limits and the wake-up."""
    clustered = kind == "cluster"
    servers = request.getfixturevalue("cluster" if clustered else "new_redis_server")
    servers = servers if clustered else [servers()]
    for server in servers:
        said = server.ask(f"ACL SETUSER node on >swordfish -@all {documented_rights(kind)}\r\n".encode())
        assert said == b"+OK\r\n"
    url = servers[0].url.replace("//", "//node@")
    entered = redis.RedisSettings(url, password="swordfish", cluster=clustered, timeout_ms=2000)
    ear = Ear(connect(entered))
    await ear.until(1, connect(entered))
    await ear.close()
    client = redis.connect(entered)
    store = RedisAdmission(client, 60_000, 5_000)
    limit = Limit(name="key", rate=10, per_us=1_000_000, burst=10)
    admitted = await store.admit(
        admission("acme", "key:0123456789abcdef0123456789abcdef", (Bucket("k", limit, 1),))
    )
    assert admitted is not None
    await store.aclose()
    if not clustered:
        assert await client.ping()
    await client.aclose()


def documented_rights(kind: str) -> str:
    rows = re.findall(r"^\| (.*?) \| (.*?) \| (.*?) ?\|$", section(), re.MULTILINE)
    rights: list[str] = []
    for used_for, commands, keys in rows[1:]:
        if "sink" in used_for or (kind == "single" and "cluster" in used_for):
            continue
        rights += ["+" + "|".join(each.lower().split()) for each in re.findall("`(.*?)`", commands)]
        rights += [f"~{each}" for each in re.findall("`(.*?)`", keys)]
    return " ".join(rights)


def section() -> str:
    return PAGE.read_text().split("needs these commands and keys")[1].split("## [redis.tls]")[0]


async def test_a_quiet_stream_stays_open(redis_url: str, connect: Connect) -> None:
    """Silence is no outage: the same connection brings what comes later, and no pause was taken."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    announcer, ear = connect(single(redis_url)), Ear(connect(single(redis_url), pause))
    await ear.until(1, announcer)
    await asyncio.sleep(3 * SILENCE_S)
    await announcer.announce(2)
    async with asyncio.timeout(HEARD_WITHIN):
        while await ear.heard.get() != 2:
            pass
    assert not pauses
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
