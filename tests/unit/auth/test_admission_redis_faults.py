"""Redis admission against real servers that stop, stall, fill up and lose their script."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest
from redis.asyncio import Redis

from auth.admission import (
    Admission,
    Admitted,
    Bucket,
    LimiterUnavailable,
    RateLimited,
    Replayed,
    ReplayStoreUnavailable,
    StoreUnavailable,
)
from auth.admission.redis import RedisAdmission
from policies.gcra import Limit
from tests.support.admissions import admission
from tests.support.servers import RedisServer

HOUR_US = 3_600_000_000
THREE = Limit(name="three", rate=1, per_us=HOUR_US, burst=3)
LOCAL = Limit(name="local", rate=1, per_us=HOUR_US, burst=3, outage="local")
# Long against what one exchange takes, also on a busy machine; every wait in this file is bounded besides.
# Long enough that a machine which is busy elsewhere doesn't look like a store that is silent.
TIMEOUT_MS = 1_500
NO_HANG_S = 20

NewServer = Callable[..., RedisServer]


@pytest.fixture
def server(new_redis_server: NewServer) -> RedisServer:
    return new_redis_server()


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(server.url) as client:
        yield client


@pytest.fixture
async def store(redis: Redis) -> AsyncIterator[RedisAdmission]:
    # The client retries ten times with growing pauses, as redis-py does unless told otherwise.
    store = RedisAdmission(redis, nonce_ttl_ms=122_000, timeout_ms=TIMEOUT_MS)
    yield store
    await store.aclose()


def signed(nonce: str, *limits: Limit) -> Admission:
    return admission("acme", f"key:{nonce}", tuple(Bucket(f"k:{each.name}", each, 1) for each in limits))


def public(*limits: Limit) -> Admission:
    return admission("public", None, tuple(Bucket(f"r:{each.name}", each, 1) for each in limits))


async def recover(store: RedisAdmission, nonce: str) -> None:
    """Ask with new nonces until one passes: what was refused must become possible again by itself."""
    async with asyncio.timeout(NO_HANG_S):
        attempt = 0
        while True:
            attempt += 1
            try:
                await store.admit(signed(f"{nonce}-{attempt}"))
            except ReplayStoreUnavailable:
                await asyncio.sleep(0.01)
            else:
                return


async def kinds(store: RedisAdmission, *asked: Admission) -> list[str]:
    async with asyncio.timeout(NO_HANG_S):
        answers = await asyncio.gather(*map(store.admit, asked), return_exceptions=True)
    return [type(answer).__name__ for answer in answers]


async def test_a_stopped_store_refuses_and_comes_back(server: RedisServer, store: RedisAdmission) -> None:
    """No nonce passes while it is away; the same object serves again once it is back."""
    await store.admit(signed("a"))
    server.stop()
    assert await kinds(store, *map(signed, "bcd")) == ["ReplayStoreUnavailable"] * 3
    server.start()
    await recover(store, "back")


async def test_a_store_that_was_never_there_refuses(new_redis_server: NewServer) -> None:
    """Starting before Redis does is no different from losing it."""
    server = new_redis_server()
    server.stop()
    async with Redis.from_url(server.url) as redis:
        store = RedisAdmission(redis, nonce_ttl_ms=122_000, timeout_ms=TIMEOUT_MS)
        assert await kinds(store, signed("a")) == ["ReplayStoreUnavailable"]
        server.start()
        await recover(store, "first")
        await store.aclose()


async def test_a_stalled_store_refuses_in_bounded_time(server: RedisServer, store: RedisAdmission) -> None:
    """Connected and silent: each caller waits for its own time and no longer, wave after wave."""
    await store.admit(signed("a"))
    server.pause()
    for wave in range(3):
        asked = [signed(f"{wave}-{number}") for number in range(50)]
        assert await kinds(store, *asked) == ["ReplayStoreUnavailable"] * 50
    server.resume()
    await recover(store, "back")


async def test_no_reply_of_a_stall_answers_a_later_request(
    server: RedisServer, store: RedisAdmission
) -> None:
    """What Redis answers late dies with its connection, while replays are still told from new nonces."""
    await store.admit(signed("used"))
    server.pause()
    assert set(await kinds(store, *(signed(f"lost-{n}") for n in range(20)))) == {"ReplayStoreUnavailable"}
    server.resume()
    await recover(store, "back")
    for round_number in range(20):
        asked = [signed("used"), signed(f"new-{round_number}"), signed("used")]
        assert await kinds(store, *asked) == ["Replayed", "Admitted", "Replayed"]


async def test_a_refused_nonce_never_passes_twice(server: RedisServer, store: RedisAdmission) -> None:
    """A nonce that was lost in a stall may have been taken or not: after it, it passes at most once."""
    server.pause()
    assert await kinds(store, signed("lost")) == ["ReplayStoreUnavailable"]
    server.resume()
    await recover(store, "back")
    passed = (await kinds(store, signed("lost"), signed("lost"))).count("Admitted")
    assert passed <= 1
    assert await kinds(store, signed("lost")) == ["Replayed"]


async def test_a_full_store_refuses_until_there_is_room(redis: Redis, store: RedisAdmission) -> None:
    """Without memory for the nonce nothing passes, and nothing is evicted to make it pass."""
    await store.admit(signed("kept"))
    await redis.config_set("maxmemory-policy", "noeviction")
    await redis.config_set("maxmemory", "1")
    assert await kinds(store, signed("a", THREE), signed("b")) == ["ReplayStoreUnavailable"] * 2
    assert await kinds(store, public(THREE)) == ["LimiterUnavailable"]
    await redis.config_set("maxmemory", "0")
    await recover(store, "back")
    assert await kinds(store, signed("kept")) == ["Replayed"]


async def test_a_replica_refuses_until_it_is_promoted(redis: Redis, store: RedisAdmission) -> None:
    """A node that lost its role can't take nonces, and is not asked on the old connection for ever."""
    await store.admit(signed("a"))
    await redis.replicaof("127.0.0.1", "1")
    assert await kinds(store, signed("b"), signed("c", THREE)) == ["ReplayStoreUnavailable"] * 2
    await redis.replicaof("NO", "ONE")
    await recover(store, "back")


async def test_a_flushed_script_is_sent_again(redis: Redis, store: RedisAdmission) -> None:
    """Nobody notices, and the nonces are still known."""
    await store.admit(signed("a"))
    for number in range(3):
        await redis.script_flush()
        assert await kinds(store, signed(f"b{number}"), signed("a")) == ["Admitted", "Replayed"]


async def test_a_busy_store_refuses_until_it_has_time(
    redis: Redis, server: RedisServer, store: RedisAdmission
) -> None:
    """A script that runs on and on holds every admission up, for a bounded time each."""
    await redis.config_set("lua-time-limit", "50")
    await store.admit(signed("a"))
    endless = asyncio.ensure_future(redis.eval("while true do end", 0))
    await asyncio.sleep(0.1)
    assert await kinds(store, signed("b")) == ["ReplayStoreUnavailable"]
    async with Redis.from_url(server.url) as other:
        await other.script_kill()
    await asyncio.gather(endless, return_exceptions=True)
    await recover(store, "back")


async def test_a_connection_killed_by_the_server_costs_no_request(
    redis: Redis, store: RedisAdmission
) -> None:
    """An idle connection that was closed is replaced before anything is sent on it."""
    await store.admit(signed("a"))
    for number in range(5):
        await redis.client_kill_filter(_type="normal", skipme=True)
        await asyncio.sleep(0.05)
        assert await kinds(store, signed(f"b{number}")) == ["Admitted"]


async def test_a_key_of_another_type_in_the_way_blocks_nobody_else(
    redis: Redis, store: RedisAdmission
) -> None:
    """A foreign value under our name spoils no batch: the bucket starts over, and is a limit again."""
    await redis.lpush("pr:{acme}:b:k:three", "x")
    assert await kinds(store, signed("a", THREE), signed("b")) == ["Admitted", "Admitted"]
    asked = [signed(f"c{number}", THREE) for number in range(3)]
    assert await kinds(store, *asked) == ["Admitted", "Admitted", "RateLimited"]


@pytest.mark.parametrize("stored", ["inf", "nan", "-nan", "1e300", "9007199254740993000"])
async def test_a_number_that_can_not_be_a_time_counts_as_a_full_bucket(
    redis: Redis, store: RedisAdmission, stored: str
) -> None:
    """Nothing that is stored lets more pass."""
    await redis.set("pr:{acme}:b:k:three", stored)
    with pytest.raises(RateLimited) as refused:
        await store.admit(signed("a", THREE))
    assert refused.value.states[0].remaining == 0


async def test_what_was_booked_under_a_slower_limit_is_no_debt_under_another(store: RedisAdmission) -> None:
    """Whose tier is changed for a faster one waits as long as it is told, and no longer."""
    await store.admit(admission("acme", None, (Bucket("partner:paper", THREE, 3),)))
    quick = Limit(name="quick", rate=20, per_us=1_000_000, burst=1)
    faster = admission("acme", None, (Bucket("partner:paper", quick, 1),))
    with pytest.raises(RateLimited) as refused:
        await store.admit(faster)
    await asyncio.sleep(refused.value.retry_after_ms / 1000 + 0.01)
    await store.admit(faster)


async def test_a_bucket_is_written_to_the_microsecond_and_expires_when_drained(
    redis: Redis, store: RedisAdmission
) -> None:
    """Sixteen digits survive Lua; a bucket that says nothing any more is not kept."""
    quick = Limit(name="quick", rate=1, per_us=7_000_001, burst=1)
    await store.admit(signed("a", quick))
    stored = await redis.get("pr:{acme}:b:k:quick")
    assert stored is not None
    assert stored.isdigit()
    assert len(stored) == 16
    assert 0 < await redis.pttl("pr:{acme}:b:k:quick") <= 7_001


async def test_nonces_expire_by_the_lifetime_given(redis: Redis, store: RedisAdmission) -> None:
    """Not later, or memory would grow; not earlier, or captured requests would pass."""
    await store.admit(signed("a"))
    [key] = [key async for key in redis.scan_iter("pr:{acme}:n:*")]
    assert 122_000 - 30_000 < await redis.pttl(key) <= 122_000


async def test_clocks_of_nodes_decide_nothing(redis: Redis, server: RedisServer) -> None:
    """Two nodes a minute apart share one limit exactly: the time is the store's."""
    minute_us = 60_000_000
    limit = Limit(name="minute", rate=1, per_us=minute_us, burst=2)
    stores = [
        RedisAdmission(redis, 122_000, timeout_ms=5000, clock_us=partial(int, offset))
        for offset in (0, minute_us, -minute_us)
    ]
    answers = await asyncio.gather(
        *(store.admit(signed(f"{n}-{id(store)}", limit)) for store in stores for n in range(5)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, Admitted) for answer in answers) == 2
    for store in stores:
        await store.aclose()


async def test_without_the_store_limits_do_as_they_declare(
    server: RedisServer, store: RedisAdmission
) -> None:
    """Public routes go on where every limit allows it, counted on this node, until the store is back."""
    server.stop()
    assert await kinds(store, public(LOCAL), public(THREE), public(LOCAL, THREE)) == [
        "Admitted",
        "LimiterUnavailable",
        "LimiterUnavailable",
    ]
    assert sorted(await kinds(store, *[public(LOCAL)] * 5)) == ["Admitted"] * 2 + ["RateLimited"] * 3
    server.start()
    await recover(store, "back")
    assert (await store.admit(public(LOCAL))).buckets[0].remaining == 2


async def test_cancelling_some_callers_of_many_disturbs_none_of_the_others(store: RedisAdmission) -> None:
    """Whoever stays gets an answer of their own, right to the nonce."""
    await store.admit(signed("used"))
    for round_number in range(30):
        asked = [signed("used") if n % 3 == 0 else signed(f"{round_number}-{n}") for n in range(30)]
        tasks = [asyncio.ensure_future(store.admit(each)) for each in asked]
        await asyncio.sleep(0)
        for task in tasks[round_number % 5 :: 5]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for n, answer in enumerate(answers):
            if not isinstance(answer, asyncio.CancelledError):
                assert isinstance(answer, Replayed if n % 3 == 0 else Admitted)


async def test_every_outage_is_an_error_of_the_store(server: RedisServer, store: RedisAdmission) -> None:
    """One type for whoever maps errors to answers."""
    server.stop()
    for asked, error in ((signed("a"), ReplayStoreUnavailable), (public(THREE), LimiterUnavailable)):
        with pytest.raises(StoreUnavailable) as refused:
            await store.admit(asked)
        assert type(refused.value) is error
