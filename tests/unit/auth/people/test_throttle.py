"""Counting attempts: in the shared store, and on this node alone while that is away."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from auth.admission import Admission, AdmissionStore, Admitted, LimiterUnavailable
from auth.admission.memory import MemoryAdmission
from auth.admission.redis import RedisAdmission
from auth.people.failures import Throttled
from auth.people.throttle import ACCOUNT, MAIL, PASSWORD, SECOND_FACTOR, SOURCE, Throttle
from storage import redis
from tests.support.people import COUNTING_KEY
from tests.support.servers import RedisServer


def counting(store: AdmissionStore, key: bytes = COUNTING_KEY) -> Throttle:
    return Throttle(store, lambda: key)


def test_every_limit_goes_on_without_the_store() -> None:
    """Nobody is let try without being counted, and nobody is locked out because Redis is away."""
    assert {limit.outage for limit in (SOURCE, PASSWORD, ACCOUNT, SECOND_FACTOR, MAIL)} == {"local"}


async def test_two_nodes_count_together(redis_url: str) -> None:
    """Ten passwords of an account from one source, however they are spread."""
    clients = [redis.connect(redis.RedisSettings(url=redis_url)) for _ in range(2)]
    stores = [RedisAdmission(client, 60_000, 5_000) for client in clients]
    nodes = [counting(store) for store in stores]
    for number in range(10):
        await nodes[number % 2].admit_password("192.0.2.1", "ada@acme.example")
    for node in nodes:
        with pytest.raises(Throttled):
            await node.admit_password("192.0.2.1", "ada@acme.example")
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
    throttle = counting(store)
    server.close()
    passed = 0
    for _ in range(15):
        try:
            await throttle.admit_password("192.0.2.1", "ada@acme.example")
            passed += 1
        except Throttled:
            pass
    assert passed == 10
    await store.aclose()
    await client.aclose()


async def test_strangers_cannot_fill_the_table() -> None:
    """Whatever they are called: they fall into buckets that there are only so many of."""
    store = MemoryAdmission(lambda: 0, 60_000)
    throttle = counting(store)
    for number in range(20_000):
        with contextlib.suppress(Throttled):
            await throttle.admit_password(f"2001:db8:{number:x}::", f"p{number}@acme.example")
    assert len(store._buckets) <= 3 * 8_192


async def test_no_room_to_count_in_is_a_refusal() -> None:
    """Not a way past the limits."""

    class Full:
        async def admit(self, _: Admission) -> Admitted:
            raise LimiterUnavailable("full")

        async def aclose(self) -> None:
            return

    with pytest.raises(Throttled):
        await counting(Full()).admit_source("192.0.2.1")


async def try_often(throttle: Throttle, sources: list[str], email: str, times: int) -> int:
    """How many of them were let try."""
    passed = 0
    for number in range(times):
        with contextlib.suppress(Throttled):
            await throttle.admit_password(sources[number % len(sources)], email)
            passed += 1
    return passed


async def test_one_stranger_shuts_nobody_out() -> None:
    """Whoever guesses somebody's password from one place runs out of tries there, and its owner does not."""
    now_us = 0
    throttle = counting(MemoryAdmission(lambda: now_us, 60_000))
    for _ in range(10):
        await try_often(throttle, ["198.51.100.1"], "ada@acme.example", 60)
        await throttle.admit_password("192.0.2.1", "ada@acme.example")
        now_us += 15 * 60_000_000


async def test_many_sources_guess_no_more_than_so_often() -> None:
    """Fifty at once and a hundred in a quarter of an hour, from however many places."""
    throttle = counting(MemoryAdmission(lambda: 0, 60_000))
    sources = [f"198.51.100.{number}" for number in range(200)]
    assert await try_often(throttle, sources, "ada@acme.example", 200) == 50
    assert ACCOUNT.rate == 100
    # Their owner, signed in, goes on; and whoever has a passkey comes in.
    await throttle.admit_confirmation("192.0.2.1", "acc_1")
    await throttle.admit_source("192.0.2.1")


async def test_nobody_picks_who_shares_a_bucket() -> None:
    """Which addresses are counted together depends on what only the nodes know."""
    found = []
    for key in (b"one", b"another"):
        store = MemoryAdmission(lambda: 0, 60_000)
        await counting(store, key).admit_password("192.0.2.1", "ada@acme.example")
        found.append(set(store._buckets._tats))
    assert not found[0] & found[1]
