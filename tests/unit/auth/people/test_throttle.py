"""Counting attempts: in the shared store, and on this node alone while that is away."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from auth.admission import Admission, Admitted, LimiterUnavailable
from auth.admission.memory import MemoryAdmission
from auth.admission.redis import RedisAdmission
from auth.people.failures import Throttled
from auth.people.throttle import MAIL, PASSWORD, SECOND_FACTOR, SOURCE, Throttle
from storage import redis
from tests.support.servers import RedisServer


def test_every_limit_goes_on_without_the_store() -> None:
    """Nobody is let try without being counted, and nobody is locked out because Redis is away."""
    assert {limit.outage for limit in (SOURCE, PASSWORD, SECOND_FACTOR, MAIL)} == {"local"}


async def test_two_nodes_count_together(redis_url: str) -> None:
    """Ten passwords an account, however they are spread."""
    clients = [redis.connect(redis.RedisSettings(url=redis_url)) for _ in range(2)]
    stores = [RedisAdmission(client, 60_000, 5_000) for client in clients]
    nodes = [Throttle(store) for store in stores]
    for number in range(10):
        await nodes[number % 2].admit_password(f"192.0.2.{number}", "ada@acme.example")
    for node in nodes:
        with pytest.raises(Throttled):
            await node.admit_password("192.0.2.99", "ada@acme.example")
    for store, client in zip(stores, clients, strict=True):
        await store.aclose()
        await client.aclose()


async def test_a_store_that_is_away_lets_nobody_try_forever(
    new_redis_server: Callable[..., RedisServer],
) -> None:
    """The node counts by itself until it is back."""
    server = new_redis_server()
    client = redis.connect(redis.RedisSettings(url=server.url))
    store = RedisAdmission(client, 60_000, 2_000)
    throttle = Throttle(store)
    server.close()
    passed = 0
    for number in range(15):
        try:
            await throttle.admit_password(f"192.0.2.{number}", "ada@acme.example")
            passed += 1
        except Throttled:
            pass
    assert passed == 10
    await store.aclose()
    await client.aclose()


async def test_strangers_cannot_fill_the_table() -> None:
    """Whatever they are called: they fall into buckets that there are only so many of."""
    store = MemoryAdmission(lambda: 0, 60_000)
    throttle = Throttle(store)
    for number in range(20_000):
        with contextlib.suppress(Throttled):
            await throttle.admit_password(f"2001:db8:{number:x}::", f"p{number}@acme.example")
    assert len(store._buckets) <= 2 * 8_192


async def test_no_room_to_count_in_is_a_refusal() -> None:
    """Not a way past the limits."""

    class Full:
        async def admit(self, _: Admission) -> Admitted:
            raise LimiterUnavailable("full")

        async def aclose(self) -> None:
            return

    with pytest.raises(Throttled):
        await Throttle(Full()).admit_source("192.0.2.1")
