"""Where the policies ask for a signed yes: what an account of a machine may still do, and whose key counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.operations import Operations, Operator
from keys import approvals
from keys.changes import Author
from tests.support.desk import POLICIES, Desk, build_desk, live_trader, needed, person, showing, under_glass

ALICE, BOB = person("alice"), person("bob")
SIGNED = 'deciders = "keys"\n' + POLICIES
WHY = "nobody else is awake"
MINUTE_MS = 60_000

KeyOf = Callable[..., Awaitable[Operator]]


@pytest.fixture
def signed(desk: Desk) -> Operations:
    """The same store, where only keys decide."""
    return desk.operations_under(SIGNED)


@pytest.fixture
def key_of(desk: Desk) -> KeyOf:
    """A key that may do everything, made by this actor, under this approval."""

    async def make(maker: str, approval: str | None = None) -> Operator:
        asked = live_trader(roles=("approver",))
        made = (await desk.room.custody.create_key(asked, author=Author(maker, approval=approval))).key
        return person("", actor=f"key:{made.id}")

    return make


async def test_an_account_asks_and_does_not_decide(desk: Desk, signed: Operations, key_of: KeyOf) -> None:
    """Neither yes nor no, and is told by which setting; with the yes of a key it acts."""
    need = await needed(signed.keys.create(ALICE, live_trader()))
    for decide in (signed.approvals.approve, signed.approvals.refuse):
        with pytest.raises(approvals.KeyNeeded, match='deciders = "keys"'):
            await decide(BOB, need.id)
    assert (await desk.approvals.get(need.id)).state == "pending"
    await signed.approvals.approve(await key_of("cli:bob", "apr_x"), need.id)
    await signed.keys.create(showing(ALICE, need.id), live_trader())


async def test_keys_decide_for_keys(signed: Operations, key_of: KeyOf) -> None:
    """Also where one of them was made by an account alone, so long as the other was agreed on."""
    asks, decides = await key_of("cli:alice"), await key_of("cli:alice", "apr_x")
    need = await needed(signed.keys.create(asks, live_trader()))
    await signed.approvals.approve(decides, need.id)
    await signed.keys.create(showing(asks, need.id), live_trader())


async def test_a_yes_that_an_account_gave_counts_no_more(
    desk: Desk, signed: Operations, key_of: KeyOf
) -> None:
    """It was good when it was given; by the time of use the policies ask for a key's."""
    need = await needed(desk.ops.keys.create(ALICE, live_trader()))
    await desk.approved(need, BOB)
    with pytest.raises(approvals.RulesTightened):
        await signed.keys.create(showing(ALICE, need.id), live_trader())
    await signed.approvals.withdraw(ALICE, need.id)
    anew = await needed(signed.keys.create(ALICE, live_trader()))
    await signed.approvals.approve(await key_of("cli:bob", "apr_x"), anew.id)
    await signed.keys.create(showing(ALICE, anew.id), live_trader())


@pytest.mark.parametrize("approval", [None, "break-glass:brg_x"])
async def test_accounts_are_one_person(
    desk: Desk, signed: Operations, key_of: KeyOf, approval: str | None
) -> None:
    """Whoever can be any account would else make a key as one of them, and ask as another: also before the setting."""
    key = await key_of("cli:mallory", approval)
    other = await key_of("cli:bob", approval)
    for asking in (ALICE, other):
        need = await needed(signed.keys.create(asking, live_trader()))
        with pytest.raises(approvals.SelfApproval):
            await signed.approvals.approve(key, need.id)
        await desk.approved(need, key)
        with pytest.raises(approvals.RulesTightened):
            await signed.keys.create(showing(asking, need.id), live_trader())


async def test_break_glass_is_an_account_s_too(signed: Operations) -> None:
    """When nobody else is there, nobody else signs either."""
    await signed.break_glass.open(ALICE, MINUTE_MS, reason=WHY)
    await signed.keys.create(under_glass(ALICE), live_trader(), reason=WHY)


async def test_what_is_done_in_steps_asks_at_each_of_them(engine: AsyncEngine) -> None:
    """A reseal that was begun does not go on under a yes that counts no more."""
    rule = '[[approvals]]\naction = "kms.reseal"\n'
    desk = build_desk(engine, POLICIES + rule)
    await desk.room.custody.create_partner("acme", "acme", "standard", author=Author("setup"))
    await desk.room.create_key()
    await desk.room.data_keys.rotate("paper", author=Author("setup"))
    need = await needed(desk.ops.kms.reseal(ALICE))
    await desk.approved(need, BOB)
    await desk.ops.kms.reseal(showing(ALICE, need.id))
    await desk.ops.kms.reseal(showing(ALICE, need.id))
    with pytest.raises(approvals.RulesTightened):
        await desk.operations_under(SIGNED + rule).kms.reseal(showing(ALICE, need.id))
