"""Admission in a Redis Cluster whose nodes stop and whose slots move."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis, RedisCluster
from redis.crc import key_slot

from auth.admission import Admission, Admitted, Bucket, Replayed, ReplayStoreUnavailable
from auth.admission.redis import RedisAdmission
from policies.gcra import Limit
from tests.support import redis_cluster
from tests.support.admissions import admission
from tests.support.servers import RedisServer

THREE = Limit(name="three", rate=1, per_us=3_600_000_000, burst=3)
NO_HANG_S = 30

NewServer = Callable[..., RedisServer]


@pytest.fixture
def nodes(new_redis_server: NewServer) -> list[RedisServer]:
    # Without full coverage, so that the slots of the nodes that live are served while another is away.
    arguments = (*redis_cluster.ARGUMENTS, "--cluster-require-full-coverage", "no")
    nodes = [new_redis_server(*arguments) for _ in range(3)]
    redis_cluster.form(nodes)
    return nodes


@pytest.fixture
async def store(nodes: list[RedisServer]) -> AsyncIterator[RedisAdmission]:
    cluster = RedisCluster(host="127.0.0.1", port=nodes[0].port, require_full_coverage=False)
    store = RedisAdmission(cluster, nonce_ttl_ms=122_000, timeout_ms=1_500)
    yield store
    await store.aclose()
    await cluster.aclose()


def signed(slot: str, nonce: str, *limits: Limit) -> Admission:
    return admission(slot, f"key:{nonce}", tuple(Bucket(f"k:{each.name}", each, 1) for each in limits))


def hash_slot(slot: str) -> int:
    return key_slot(b"pr:{%b}:" % slot.encode())


def slots_of(node: int, count: int) -> list[str]:
    """Partners that live on a node."""
    names = (f"partner-{number}" for number in range(10_000))
    found = (name for name in names if hash_slot(name) * 3 // redis_cluster.SLOTS == node)
    return [next(found) for _ in range(count)]


async def kinds(store: RedisAdmission, *asked: Admission) -> list[str]:
    async with asyncio.timeout(NO_HANG_S):
        answers = await asyncio.gather(*map(store.admit, asked), return_exceptions=True)
    return [type(answer).__name__ for answer in answers]


async def recover(store: RedisAdmission, slot: str) -> None:
    async with asyncio.timeout(NO_HANG_S):
        attempt = 0
        while True:
            attempt += 1
            try:
                await store.admit(signed(slot, f"again-{attempt}"))
            except ReplayStoreUnavailable:
                await asyncio.sleep(0.05)
            else:
                return


async def move_slot(nodes: list[RedisServer], slot: str, *, origin: int, target: int) -> None:
    """Give an empty slot to another node, and tell all of them."""
    async with Redis(port=nodes[target].port) as redis:
        target_id = await redis.execute_command("CLUSTER", "MYID")  # type: ignore[no-untyped-call]  # as it ships
    for index in (target, origin, 3 - target - origin):
        async with Redis(port=nodes[index].port) as redis:
            await redis.execute_command(  # type: ignore[no-untyped-call]  # as it ships
                "CLUSTER", "SETSLOT", hash_slot(slot), "NODE", target_id
            )


async def test_a_stopped_node_refuses_only_what_lives_on_it(
    nodes: list[RedisServer], store: RedisAdmission
) -> None:
    """Partners on other nodes notice nothing; its own are served again once it is back."""
    [here], [there] = slots_of(0, 1), slots_of(2, 1)
    assert await kinds(store, signed(here, "a"), signed(there, "a")) == ["Admitted"] * 2
    nodes[2].pause()
    for wave in range(3):
        asked = [signed(slot, f"{wave}-{n}") for n in range(10) for slot in (here, there)]
        assert await kinds(store, *asked) == ["Admitted", "ReplayStoreUnavailable"] * 10
    nodes[2].resume()
    await recover(store, there)
    assert await kinds(store, signed(here, "a"), signed(there, "a")) == ["Replayed"] * 2


async def test_a_node_that_ends_and_comes_back_is_found_again(
    nodes: list[RedisServer], store: RedisAdmission
) -> None:
    """Refused at once while it is gone; nothing has to be restarted here."""
    [there] = slots_of(1, 1)
    await store.admit(signed(there, "a"))
    nodes[1].stop()
    assert await kinds(store, signed(there, "b")) == ["ReplayStoreUnavailable"]
    nodes[1].start()
    await recover(store, there)


async def test_a_slot_that_moved_is_followed(nodes: list[RedisServer], store: RedisAdmission) -> None:
    """The node that no longer has it ran nothing, so nobody is refused and nobody passes twice."""
    moved, stays = slots_of(0, 2)
    await store.admit(signed(stays, "a"))
    await move_slot(nodes, moved, origin=0, target=2)
    asked = [
        signed(moved, "a", THREE),
        signed(stays, "a"),
        signed(moved, "a", THREE),
        signed(moved, "b", THREE),
    ]
    assert await kinds(store, *asked) == ["Admitted", "Replayed", "Replayed", "Admitted"]
    answer = await store.admit(signed(moved, "c", THREE))
    assert answer.buckets[0].remaining == 0


async def test_a_slot_on_its_way_refuses_until_it_has_arrived(
    nodes: list[RedisServer], store: RedisAdmission
) -> None:
    """Half here and half there nothing can be counted for certain; others in the batch are not touched."""
    moving, stays = slots_of(0, 2)
    async with Redis(port=nodes[2].port) as target, Redis(port=nodes[0].port) as origin:
        ids = [await node.execute_command("CLUSTER", "MYID") for node in (origin, target)]  # type: ignore[no-untyped-call]  # as it ships
        await target.execute_command("CLUSTER", "SETSLOT", hash_slot(moving), "IMPORTING", ids[0])  # type: ignore[no-untyped-call]  # as it ships
        await origin.execute_command("CLUSTER", "SETSLOT", hash_slot(moving), "MIGRATING", ids[1])  # type: ignore[no-untyped-call]  # as it ships
    assert await kinds(store, signed(moving, "a"), signed(stays, "a")) == [
        "ReplayStoreUnavailable",
        "Admitted",
    ]
    await move_slot(nodes, moving, origin=0, target=2)
    await recover(store, moving)
    assert await kinds(store, signed(moving, "b"), signed(stays, "a")) == ["Admitted", "Replayed"]


async def test_a_flushed_script_is_sent_again(nodes: list[RedisServer], store: RedisAdmission) -> None:
    """On each node for itself, within a batch of several slots."""
    slots = [*slots_of(0, 3), *slots_of(1, 3)]
    assert await kinds(store, *(signed(slot, "a") for slot in slots)) == ["Admitted"] * 6
    for node in nodes:
        node.ask(b"SCRIPT FLUSH\r\n")
    assert await kinds(store, *(signed(slot, "a") for slot in slots)) == ["Replayed"] * 6


async def test_a_cluster_that_is_not_there_yet_refuses(new_redis_server: NewServer) -> None:
    """Starting before the cluster does: refused in bounded time, and served once it is there."""
    nodes = [new_redis_server(*redis_cluster.ARGUMENTS) for _ in range(3)]
    cluster = RedisCluster(host="127.0.0.1", port=nodes[0].port)
    store = RedisAdmission(cluster, nonce_ttl_ms=122_000, timeout_ms=1_500)
    assert await kinds(store, *(signed("acme", str(n)) for n in range(5))) == ["ReplayStoreUnavailable"] * 5
    redis_cluster.form(nodes)
    await recover(store, "acme")
    assert isinstance(await store.admit(signed("acme", "x", THREE)), Admitted)
    with pytest.raises(Replayed):
        await store.admit(signed("acme", "x", THREE))
    await store.aclose()
    await cluster.aclose()


async def test_a_replica_that_takes_over_is_found(
    nodes: list[RedisServer], store: RedisAdmission, new_redis_server: NewServer
) -> None:
    """After a failover the nonces it had been sent are still taken, and new ones pass."""
    [there] = slots_of(1, 1)
    replica = new_redis_server(*redis_cluster.ARGUMENTS)
    redis_cluster.attach_replica(replica, nodes, of=1)
    await store.admit(signed(there, "a"))
    async with Redis(port=nodes[1].port) as primary:
        assert await primary.wait(1, 10_000) == 1
    assert replica.ask(b"CLUSTER FAILOVER\r\n") == b"+OK\r\n"
    redis_cluster.wait_until(lambda: b"role:master" in replica.ask(b"INFO replication\r\n"))
    nodes[1].stop()
    await recover(store, there)
    assert await kinds(store, signed(there, "a")) == ["Replayed"]
