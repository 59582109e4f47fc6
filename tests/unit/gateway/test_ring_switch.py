"""Two nodes and their verifiers while the identity ring rotates: nobody ever meets a statement it cannot verify."""

from collections import deque
from typing import NamedTuple

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from auth import assertion, identity, identity_keys
from keys.changes import Author
from keys.ring import Ring
from keys.ring_rotation import AnnouncedTooLately, RingRotation, RingTimes
from policies import principal
from tests.support import custody

ISSUER = "https://portreeve.example"
OPERATOR = Author("operator")
TIMES = RingTimes(lifetime_ms=30_000, skew_ms=1_000, cache_ms=300_000, spread_ms=30_000)
TICK_MS = 5_000
STATEMENT = assertion.state(
    principal.Principal(
        partner="acme",
        credential="prk_paper_x",
        environment="paper",
        tier="standard",
        roles=("trader",),
        permissions=frozenset({"orders:read"}),
        networks=(),
    ),
    "paper",
    "orders:read",
)


def verified(written: str, jwks: identity.Jwks, now_ms: int) -> identity.Identity:
    return identity.verify(
        written, jwks=jwks, issuer=ISSUER, audience="paper", environment="paper", now_ms=now_ms
    )


class Node(NamedTuple):
    ring: Ring
    assertions: assertion.Assertions


class Signed(NamedTuple):
    written: str
    at_ms: int


class World:
    """Node 0 sees every change at once, node 1 only as late as it may. Verifiers keep every key set that anybody can
    still be holding, and judge every statement that can still be under way by each of them.
    """

    def __init__(self, room: custody.Room) -> None:
        self.clock = room.clock
        self.nodes = [self._node(room), self._node(room.another_node())]
        self.rotation = RingRotation(self.nodes[0].ring, room.changes, TIMES)
        self.kept: deque[tuple[int, identity.Jwks]] = deque()
        self.under_way: deque[Signed] = deque()
        self._seen_ms = 0
        self.kids: set[str] = set()

    def _node(self, room: custody.Room) -> Node:
        ring = room.ring()
        made = assertion.Assertions(ring.get_signer, ISSUER, entropy=bytes)
        return Node(ring, made)

    async def look_too_soon(self) -> None:
        """Node 1 misses what is changed next for as long as a node can."""
        await self.nodes[1].ring.refresh()
        self._seen_ms = self.clock.now_ms

    async def tick(self) -> None:
        now_ms = self.clock.now_ms = self.clock.now_ms + TICK_MS
        await self.nodes[0].ring.refresh()
        if now_ms - self._seen_ms >= TIMES.spread_ms:
            await self.nodes[1].ring.refresh()
            self._seen_ms = now_ms
        for node in self.nodes:
            self.kept.append((now_ms, identity_keys.parse({"keys": node.ring.jwks()})))
            self.under_way.append(Signed(node.assertions.issue(STATEMENT, now_ms), now_ms))
            self.kids.add(node.ring.get_signer().kid)
        while now_ms - self.kept[0][0] > TIMES.cache_ms:
            self.kept.popleft()
        while now_ms - self.under_way[0].at_ms >= TIMES.lifetime_ms:
            self.under_way.popleft()
        self.verify_all(now_ms)

    def verify_all(self, now_ms: int) -> None:
        # Of equal key sets one is enough.
        for jwks in {tuple(jwks): jwks for _, jwks in self.kept}.values():
            for written in {signed.written for signed in self.under_way}:
                verified(written, jwks, now_ms)

    async def run(self, span_ms: int) -> None:
        for _ in range(-(-span_ms // TICK_MS)):
            await self.tick()


@pytest.fixture
async def world(engine: AsyncEngine) -> World:
    made = World(custody.build_room(engine))
    await made.nodes[0].ring.ensure(author=OPERATOR)
    await made.nodes[1].ring.refresh()
    await made.run(TIMES.cache_ms)
    return made


async def test_every_statement_verifies_everywhere_throughout_a_rotation(world: World) -> None:
    """By every node's key set, fresh or kept for as long as it may be, while the other node is as late as it may be."""
    await world.look_too_soon()
    await world.rotation.announce(author=OPERATOR)
    await world.run(TIMES.lead_ms)
    await world.look_too_soon()
    await world.rotation.activate(author=OPERATOR)
    await world.run(TIMES.overlap_ms)
    await world.rotation.retire(1, author=OPERATOR)
    await world.run(TIMES.cache_ms + TIMES.spread_ms)
    assert len(world.kids) == 2
    assert world.nodes[1].ring.get_signer().kid == world.nodes[0].ring.get_signer().kid


async def test_without_the_wait_somebody_meets_an_unknown_key(world: World) -> None:
    """The wait is what carries it: a key that signs too early is in no key set that was kept."""
    await world.look_too_soon()
    await world.rotation.announce(author=OPERATOR)
    await world.run(TIMES.lead_ms - 2 * TICK_MS)
    with pytest.raises(AnnouncedTooLately):
        await world.rotation.activate(author=OPERATOR)
    await world.rotation.activate(author=OPERATOR, now=True)
    with pytest.raises(identity.UnknownSigningKey):
        await world.tick()


async def test_a_verifier_that_fetches_again_comes_through_an_emergency(world: World) -> None:
    """Its key set is old, the key is new: it asks once more, and what the leaked key signed is refused."""
    node = world.nodes[0]
    clock = world.clock

    async def fetch() -> object:
        return {"keys": node.ring.jwks()}

    keys = identity_keys.IdentityKeys(fetch, clock_ms=clock)
    leaked = node.assertions.issue(STATEMENT, clock.now_ms)
    assert set(await keys.get()) == {node.ring.get_signer().kid}
    await world.rotation.rotate_now(author=OPERATOR)
    await node.ring.refresh()
    # What was kept of the leaked key's statements is not handed out again, either.
    written = node.assertions.issue(STATEMENT, clock.now_ms)
    assert written != leaked
    clock.now_ms += TICK_MS
    renewed = await keys.get_again()
    assert verified(written, renewed, clock.now_ms).partner == "acme"
    with pytest.raises(identity.UnknownSigningKey):
        verified(leaked, renewed, clock.now_ms)
