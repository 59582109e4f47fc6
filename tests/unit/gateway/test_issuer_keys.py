"""The keys of a trusted issuer: fetched behind requests' backs, kept for so long, and asked for not too often."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from auth import jose
from auth.oauth.client_keys import KeysUnreachable
from gateway.issuer_keys import IssuerKeys
from tests.support import jws

HOUR_MS = 3_600_000


class World:
    """What the issuer has, how often it was asked, and our clock."""

    def __init__(self) -> None:
        self.now_ms = 1_000
        self.asked = 0
        self.has: tuple[str, ...] | None = ("a",)
        self.fetched = asyncio.Event()
        self.keys = IssuerKeys(
            "https://idp.example",
            "https://idp.example/jwks.json",
            self,
            algorithms=jose.FAPI,
            max_age_ms=HOUR_MS,
            monotonic_ms=lambda: self.now_ms,
            patience_s=0,
        )

    async def fetch(self, url: str, algorithms: Sequence[jose.Alg] = ()) -> tuple[jose.VerificationKey, ...]:
        assert (url, algorithms) == ("https://idp.example/jwks.json", jose.FAPI)
        self.asked += 1
        self.fetched.set()
        if self.has is None:
            raise KeysUnreachable
        return tuple(jose.parse_public_jwk({**jws.public_jwk(jws.P256), "kid": kid}) for kid in self.has)

    def finds(self, kid: str | None) -> bool:
        return self.keys.find(kid, 0) is not None


@pytest.fixture
def world() -> World:
    return World()


async def test_keys_are_found_once_they_are_fetched(world: World) -> None:
    """By their id; a token without one finds the only key there is."""
    assert not world.finds("a")
    assert await world.keys.fetch()
    assert world.finds("a")
    assert world.finds(None)
    world.has = ("a", "b")
    await world.keys.fetch()
    assert not world.finds(None)


async def test_an_unreachable_issuer_leaves_its_keys_until_they_are_too_old(world: World) -> None:
    """Bounded staleness: after that its tokens are refused."""
    await world.keys.fetch()
    world.has = None
    assert not await world.keys.fetch()
    world.now_ms += HOUR_MS
    assert world.finds("a")
    world.now_ms += 1
    assert not world.finds("a")


async def test_a_withdrawn_key_is_found_no_more(world: World) -> None:
    """What is fetched replaces what there was."""
    await world.keys.fetch()
    world.has = ("b",)
    await world.keys.fetch()
    assert not world.finds("a")


async def test_an_unknown_key_makes_it_look_again(world: World) -> None:
    """Behind the request, which is refused meanwhile; many requests make one look."""
    running = asyncio.create_task(world.keys.run())
    async with asyncio.timeout(10):
        await world.fetched.wait()
        world.fetched.clear()
        world.has = ("a", "b")
        await asyncio.sleep(0)
        assert [world.finds("b") for _ in range(100)] == [False] * 100
        await world.fetched.wait()
    assert world.asked == 2
    assert world.finds("b")
    running.cancel()


async def test_strangers_cannot_make_it_look_more_often(world: World) -> None:
    """However many keys are asked for, the next look waits for as long as it does."""
    world.keys = IssuerKeys(
        "https://idp.example",
        "https://idp.example/jwks.json",
        world,
        algorithms=jose.FAPI,
        max_age_ms=HOUR_MS,
        monotonic_ms=lambda: world.now_ms,
        patience_s=3_600,
    )
    running = asyncio.create_task(world.keys.run())
    async with asyncio.timeout(10):
        await world.fetched.wait()
    for number in range(1_000):
        world.finds(f"made-up-{number}")
        await asyncio.sleep(0)
    assert world.asked == 1
    running.cancel()
