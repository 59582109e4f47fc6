"""A Redis Cluster of three primaries for tests, put together with nothing but commands to its nodes."""

from __future__ import annotations

import time
from collections.abc import Callable

import redis

from tests.support.servers import RedisServer

SLOTS = 16384
_READY_WITHIN = 30.0
ARGUMENTS = ("--cluster-enabled", "yes", "--cluster-node-timeout", "5000")


def form(nodes: list[RedisServer]) -> None:
    """Introduce the nodes to each other and divide the slots among them; returns when all agree."""
    for index, node in enumerate(nodes):
        first, end = SLOTS * index // len(nodes), SLOTS * (index + 1) // len(nodes)
        with redis.Redis(port=node.port) as client:
            # One by one: ranges of slots are known from Redis 7 on.
            client.execute_command("CLUSTER", "ADDSLOTS", *range(first, end))
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
    with redis.Redis(port=nodes[0].port) as client:
        for node in nodes[1:]:
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port)
    wait_until(lambda: all(_agrees(node, len(nodes)) for node in nodes))


def attach_replica(replica: RedisServer, nodes: list[RedisServer], *, of: int) -> None:
    """Let a new node follow the n-th; returns when all know it and it has copied what its primary keeps."""
    with redis.Redis(port=nodes[of].port, decode_responses=True) as primary:
        followed = primary.execute_command("CLUSTER", "MYID")
    with redis.Redis(port=replica.port, decode_responses=True) as client:
        identity = client.execute_command("CLUSTER", "MYID")
        for node in nodes:
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port)
        wait_until(lambda: followed.encode() in replica.ask(b"CLUSTER NODES\r\n"))
        client.execute_command("CLUSTER", "REPLICATE", followed)
    wait_until(lambda: b"master_link_status:up" in replica.ask(b"INFO replication\r\n"))
    # Those who don't know it as a replica would neither vote for it nor hear that it took over.
    known = f"slave {followed}"
    wait_until(lambda: all(known in _line(node, identity) for node in nodes))


def _line(node: RedisServer, identity: str) -> str:
    lines = node.ask(b"CLUSTER NODES\r\n").decode().splitlines()
    return next((line for line in lines if line.startswith(identity)), "")


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError("the cluster does not get there")
        time.sleep(0.02)


def _agrees(node: RedisServer, size: int) -> bool:
    state = node.ask(b"CLUSTER INFO\r\n")
    wanted = (b"cluster_state:ok", b"cluster_slots_ok:%d" % SLOTS, b"cluster_size:%d" % size)
    return all(line in state.split(b"\r\n") for line in wanted)
