"""What every admission store promises, wherever it keeps its numbers: in memory, in Redis, in a cluster."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
from redis.asyncio import Redis, RedisCluster

from auth.admission import Admission, AdmissionStore, Admitted, Bucket, RateLimited, Replayed
from auth.admission.memory import MemoryAdmission
from auth.admission.redis import RedisAdmission
from policies.gcra import Limit
from tests.support import redis_cluster
from tests.support.admissions import admission
from tests.support.servers import RedisServer

HOUR_US = 3_600_000_000
NONCE_TTL_MS = 122_000
# So slow that nothing drains while a test runs.
THREE = Limit(name="three", rate=1, per_us=HOUR_US, burst=3)
ONE = Limit(name="one", rate=1, per_us=HOUR_US, burst=1)
QUICK = Limit(name="quick", rate=100, per_us=1_000_000, burst=1)

OpenStore = Callable[..., Awaitable[AdmissionStore]]


@pytest.fixture(scope="session")
def cluster_nodes() -> Iterator[list[RedisServer]]:
    nodes = [RedisServer(*redis_cluster.ARGUMENTS) for _ in range(3)]
    try:
        for node in nodes:
            node.start()
        redis_cluster.form(nodes)
        yield nodes
    finally:
        for node in nodes:
            node.close()


def monotonic_us() -> int:
    return time.monotonic_ns() // 1000


@pytest.fixture(params=["memory", "redis", "redis-cluster"])
async def open_store(request: pytest.FixtureRequest) -> AsyncIterator[OpenStore]:
    """Opens views of one and the same store; in memory there is only one view."""
    opened: list[AdmissionStore] = []
    clients: list[Redis | RedisCluster] = []

    async def open_memory(nonce_ttl_ms: int = NONCE_TTL_MS) -> AdmissionStore:
        if not opened:
            opened.append(MemoryAdmission(monotonic_us, nonce_ttl_ms))
        return opened[0]

    async def open_redis(nonce_ttl_ms: int = NONCE_TTL_MS) -> AdmissionStore:
        clients.append(Redis.from_url(request.getfixturevalue("redis_url")) if not clients else clients[0])
        # A generous bound: these tests are about answers, and a busy machine is not an outage.
        opened.append(RedisAdmission(clients[0], nonce_ttl_ms, timeout_ms=10_000))
        return opened[-1]

    async def open_cluster(nonce_ttl_ms: int = NONCE_TTL_MS) -> AdmissionStore:
        nodes: list[RedisServer] = request.getfixturevalue("cluster_nodes")
        if not clients:
            for node in nodes:
                node.flush()
            clients.append(RedisCluster(host="127.0.0.1", port=nodes[0].port))
        opened.append(RedisAdmission(clients[0], nonce_ttl_ms, timeout_ms=10_000))
        return opened[-1]

    yield {"memory": open_memory, "redis": open_redis, "redis-cluster": open_cluster}[request.param]
    for store in opened:
        await store.aclose()
    for client in clients:
        await client.aclose()


@pytest.fixture
async def store(open_store: OpenStore) -> AdmissionStore:
    return await open_store()


def ask(*limits: Limit, nonce: str | None = None, slot: str = "acme", cost: int = 1) -> Admission:
    buckets = tuple(Bucket(f"{slot}:{limit.name}", limit, cost) for limit in limits)
    return admission(slot, None if nonce is None else f"key:{nonce}", buckets)


async def outcomes(*asked: Awaitable[Admitted]) -> list[str]:
    answers = await asyncio.gather(*asked, return_exceptions=True)
    return sorted(type(answer).__name__ for answer in answers)


async def test_a_bucket_is_its_slots_own(open_store: OpenStore) -> None:
    """One partner that uses up its limit costs no other partner anything, though their buckets are named alike."""
    store = await open_store()
    await store.admit(admission("acme", None, (Bucket("partner", ONE, 1),)))
    with pytest.raises(RateLimited):
        await store.admit(admission("acme", None, (Bucket("partner", ONE, 1),)))
    await store.admit(admission("globex", None, (Bucket("partner", ONE, 1),)))


async def test_a_nonce_passes_once(store: AdmissionStore) -> None:
    """The second time is a replay, and so is the third."""
    await store.admit(ask(nonce="a"))
    for _ in range(2):
        with pytest.raises(Replayed):
            await store.admit(ask(nonce="a"))
    await store.admit(ask(nonce="b"))


async def test_two_keys_may_use_the_same_nonce(store: AdmissionStore) -> None:
    """Single-use is per key, and slots are apart."""
    await store.admit(admission("acme", "key1:n", ()))
    await store.admit(admission("acme", "key2:n", ()))
    await store.admit(admission("beta", "key1:n", ()))


async def test_of_many_that_present_one_nonce_exactly_one_passes(open_store: OpenStore) -> None:
    """Whichever view of the store they come through."""
    stores = [await open_store() for _ in range(4)]
    asked = (store.admit(ask(THREE, nonce="a")) for store in stores for _ in range(25))
    assert await outcomes(*asked) == ["Admitted"] + ["Replayed"] * 99
    assert (await stores[0].admit(ask(THREE, nonce="b"))).buckets[0].remaining == 1


async def test_of_many_that_race_for_the_last_slot_exactly_one_passes(open_store: OpenStore) -> None:
    """A limit counts across all views."""
    stores = [await open_store() for _ in range(4)]
    asked = (store.admit(ask(ONE)) for store in stores for _ in range(25))
    assert await outcomes(*asked) == ["Admitted"] + ["RateLimited"] * 99


async def test_an_answer_tells_what_is_left_of_each_limit(store: AdmissionStore) -> None:
    """In the order they were asked."""
    answer = await store.admit(ask(THREE, ONE, nonce="a"))
    assert [(state.limit, state.remaining) for state in answer.buckets] == [(THREE, 2), (ONE, 0)]
    hour_ms = HOUR_US // 1000
    assert [state.reset_ms for state in answer.buckets] == [hour_ms, hour_ms]


async def test_a_refusal_names_the_limit_that_takes_longest(store: AdmissionStore) -> None:
    """And how long that is, with the state of all."""
    two = Limit(name="two", rate=2, per_us=HOUR_US, burst=2)
    await store.admit(ask(two, ONE, THREE))
    await store.admit(ask(two))
    with pytest.raises(RateLimited) as refused:
        await store.admit(ask(two, ONE, THREE))
    assert refused.value.limit == ONE
    assert HOUR_US // 1000 - 60_000 < refused.value.retry_after_ms <= HOUR_US // 1000
    assert [state.remaining for state in refused.value.states] == [0, 0, 2]


async def test_buckets_are_charged_all_or_none(store: AdmissionStore) -> None:
    """What one limit refuses costs the others nothing."""
    await store.admit(ask(THREE, ONE))
    for _ in range(5):
        with pytest.raises(RateLimited):
            await store.admit(ask(THREE, ONE))
    assert (await store.admit(ask(THREE))).buckets[0].remaining == 1


async def test_a_nonce_stays_taken_when_a_limit_refuses(store: AdmissionStore) -> None:
    """A captured request that was limited can't be replayed once there is room again."""
    await store.admit(ask(ONE))
    with pytest.raises(RateLimited):
        await store.admit(ask(ONE, nonce="a"))
    with pytest.raises(Replayed):
        await store.admit(ask(nonce="a"))


async def test_a_replay_charges_nothing(store: AdmissionStore) -> None:
    """A stranger with a captured request can't use up its owner's limit."""
    await store.admit(ask(THREE, nonce="a"))
    for _ in range(5):
        with pytest.raises(Replayed):
            await store.admit(ask(THREE, nonce="a"))
    assert (await store.admit(ask(THREE, nonce="b"))).buckets[0].remaining == 1


async def test_a_cost_is_charged_whole(store: AdmissionStore) -> None:
    """Three at once, or nothing."""
    await store.admit(ask(THREE, cost=2))
    with pytest.raises(RateLimited):
        await store.admit(ask(THREE, cost=2))
    assert (await store.admit(ask(THREE, cost=1))).buckets[0].remaining == 0


async def test_more_than_the_burst_never_passes(store: AdmissionStore) -> None:
    """Not even from an untouched bucket, and it leaves no trace."""
    with pytest.raises(RateLimited):
        await store.admit(ask(THREE, cost=4))
    assert (await store.admit(ask(THREE, cost=3))).buckets[0].remaining == 0


async def test_waiting_as_told_is_enough(store: AdmissionStore) -> None:
    """Retry-After is no guess."""
    await store.admit(ask(QUICK))
    for _ in range(5):
        try:
            await store.admit(ask(QUICK))
        except RateLimited as refused:
            await asyncio.sleep(refused.retry_after_ms / 1000)
            await store.admit(ask(QUICK))
            return
    pytest.fail("a limit of one in ten milliseconds let five pass at once")


async def test_a_nonce_is_forgotten_after_its_lifetime(open_store: OpenStore) -> None:
    """Memory is bounded by time; until then it is a replay."""
    store = await open_store(nonce_ttl_ms=40)
    await store.admit(ask(nonce="a"))
    async with asyncio.timeout(10):
        while True:
            try:
                await store.admit(ask(nonce="a"))
            except Replayed:
                await asyncio.sleep(0.01)
            else:
                break


async def test_an_admission_may_ask_for_nothing(store: AdmissionStore) -> None:
    """A public route without limits."""
    assert (await store.admit(ask())).buckets == ()


async def test_partners_do_not_share_buckets(store: AdmissionStore) -> None:
    """Slots are apart, also when many are asked at once."""
    slots = [f"partner-{number}" for number in range(40)]
    assert (
        await outcomes(*(store.admit(ask(ONE, nonce="a", slot=slot)) for slot in slots)) == ["Admitted"] * 40
    )
    assert await outcomes(*(store.admit(ask(ONE, slot=slot)) for slot in slots)) == ["RateLimited"] * 40


async def test_names_of_any_bytes_stay_apart(store: AdmissionStore) -> None:
    """Braces, colons and line ends in a name reach no one else's keys."""
    for slot in ("a", "a}", "{a", "a}{b", "a:b", "a\r\n", "ä"):
        await store.admit(ask(ONE, nonce="n", slot=slot))
        with pytest.raises(Replayed):
            await store.admit(ask(nonce="n", slot=slot))


async def test_one_batch_gives_each_its_own_answer(store: AdmissionStore) -> None:
    """Admitted, limited and replayed side by side, with different numbers of buckets."""
    await store.admit(ask(ONE, nonce="used"))
    asked = [
        ask(nonce="1"),
        ask(THREE, nonce="2"),
        ask(THREE, ONE, nonce="3"),
        ask(THREE, nonce="used"),
        ask(THREE, nonce="4"),
        ask(nonce="1"),
    ]
    answers = await asyncio.gather(*map(store.admit, asked), return_exceptions=True)
    kinds = [type(answer).__name__ for answer in answers]
    assert kinds == ["Admitted", "Admitted", "RateLimited", "Replayed", "Admitted", "Replayed"]
    left = [
        answer.buckets[0].remaining for answer in answers if isinstance(answer, Admitted) and answer.buckets
    ]
    assert left == [2, 1]
