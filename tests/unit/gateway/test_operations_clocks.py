"""Nodes whose clocks are wrong: what lets something pass until a moment is judged by the store's clock alone."""

import os
from collections.abc import Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from keys import approvals, break_glass
from keys.changes import Author, Changes
from storage import clock
from storage import engine as sql
from tests.support.custody import START_MS, FakeClock, FakeWakeUp, build_room
from tests.support.desk import Desk, build_desk, needed, person, showing, under_glass

ALICE, BOB = person("alice"), person("bob")
HOUR_MS = 3_600_000
WHY = "nobody else is awake"
Skewed = Callable[[int], Desk]


@pytest.fixture
def store_clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def skewed(engine: AsyncEngine, store_clock: FakeClock) -> Skewed:
    """A node whose clock goes wrong by so much, over the one store with the frozen partner acme."""

    def build(by_ms: int) -> Desk:
        room = build_room(engine, clock=FakeClock(START_MS + by_ms), store_clock=store_clock)
        return build_desk(engine, room=room)

    custody = build(0).room.custody
    await custody.create_partner("acme", "acme", "standard", author=Author("setup"))
    await custody.freeze_partner("acme", author=Author("setup"))
    return build


@pytest.mark.parametrize("by_ms", [-48 * HOUR_MS, 48 * HOUR_MS])
async def test_an_expired_approval_is_used_on_no_node(
    skewed: Skewed, store_clock: FakeClock, by_ms: int
) -> None:
    """Neither where the clock is behind, nor by having asked or agreed where it is ahead."""
    wrong = skewed(by_ms)
    need = await needed(wrong.ops.partners.unfreeze(ALICE, "acme"))
    assert need.expires_at == START_MS + 24 * HOUR_MS
    await wrong.approved(need, BOB)
    store_clock.now_ms = need.expires_at
    for desk in (wrong, skewed(0), skewed(-48 * HOUR_MS)):
        with pytest.raises(approvals.ApprovalClosed, match="expired"):
            await desk.ops.partners.unfreeze(showing(ALICE, need.id), "acme")
        assert (await desk.ops.approvals.get(ALICE, need.id)).state == "expired"
    store_clock.now_ms = need.expires_at - 1
    await wrong.ops.partners.unfreeze(showing(ALICE, need.id), "acme")


async def test_an_expired_request_is_decided_on_no_node(skewed: Skewed, store_clock: FakeClock) -> None:
    """A yes that came too late is none."""
    need = await needed(skewed(0).ops.partners.unfreeze(ALICE, "acme"))
    store_clock.now_ms = need.expires_at
    with pytest.raises(approvals.ApprovalClosed, match="expired"):
        await skewed(-48 * HOUR_MS).ops.approvals.approve(BOB, need.id)


@pytest.mark.parametrize("by_ms", [-2 * HOUR_MS, 2 * HOUR_MS])
async def test_break_glass_is_over_on_every_node(skewed: Skewed, store_clock: FakeClock, by_ms: int) -> None:
    """Wherever it was opened, and wherever it is to be used."""
    wrong = skewed(by_ms)
    glass = await wrong.ops.break_glass.open(ALICE, HOUR_MS, reason=WHY)
    assert glass.expires_at == START_MS + HOUR_MS
    store_clock.now_ms = glass.expires_at
    for desk in (wrong, skewed(0), skewed(-2 * HOUR_MS)):
        with pytest.raises(break_glass.BreakGlassClosed):
            await desk.ops.partners.unfreeze(under_glass(ALICE), "acme", reason=WHY)
        assert await desk.ops.break_glass.find_all_open(ALICE) == []
    store_clock.now_ms = glass.expires_at - 1
    await skewed(0).ops.partners.unfreeze(under_glass(ALICE), "acme", reason=WHY)


async def test_it_is_looked_at_by_the_store_s_clock_in_the_transaction(
    skewed: Skewed, store_clock: FakeClock
) -> None:
    """Whoever passed the gate while it was open, and acts on a node that believes it still is, has not acted yet."""
    desk = skewed(-2 * HOUR_MS)
    glass = await desk.ops.break_glass.open(ALICE, HOUR_MS, reason=WHY)
    author = await desk.ops.gate.pass_(
        under_glass(ALICE), action="partner.unfreeze", subject="acme", partner="acme", reason=WHY
    )
    store_clock.now_ms = glass.expires_at
    with pytest.raises(break_glass.BreakGlassClosed):
        await desk.room.custody.unfreeze_partner("acme", author=author)


async def test_the_store_s_clock_is_the_database_s(engine: AsyncEngine) -> None:
    """What is built without another clock asks the database itself, however far the node's own is off."""
    changes = Changes(engine, FakeWakeUp(), FakeClock(0))
    async with sql.reading(engine) as conn:
        before = await clock.read(conn)
    glass = await break_glass.BreakGlass(engine, changes, os.urandom).open(
        HOUR_MS, author=Author("cli:alice", WHY)
    )
    async with sql.reading(engine) as conn:
        after = await clock.read(conn)
    assert before <= glass.opened_at <= after
