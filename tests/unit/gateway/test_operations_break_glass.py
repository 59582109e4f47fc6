"""Acting alone: by whom, for how long, and how everybody hears of it."""

import logging
import os

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.break_glass_alarm import BreakGlassAlarm
from gateway.operations import ApprovalNeeded, PermissionMissing
from gateway.operations.break_glass_operations import TooLong
from gateway.operations.gate import TwoWarrants
from keys.approvals import SelfApproval
from keys.break_glass import (
    BreakGlass,
    BreakGlassClosed,
    BreakGlassOpen,
    BreakGlassOver,
    ReasonMissing,
    UnknownBreakGlass,
)
from keys.changes import Author
from keys.records import KeyChange
from keys.requests import InvalidReason
from policies import control
from tests.support.desk import POLICIES, Desk, build_desk, live_trader, needed, person, showing, under_glass

ALICE, BOB = person("alice"), person("bob")
MINUTE_MS = 60_000
WHY = "nobody else is awake"


async def furnish(engine: AsyncEngine, policies: str) -> Desk:
    built = build_desk(engine, policies)
    await built.room.custody.create_partner("acme", "acme", "standard", author=Author("setup"))
    await built.room.data_keys.get_current("live")
    return built


async def test_under_break_glass_one_person_acts_alone(desk: Desk) -> None:
    """Opening is in the ledger, each act under it names it, and closing ends it."""
    glass = await desk.ops.break_glass.open(ALICE, 15 * MINUTE_MS, reason=WHY)
    made = await desk.ops.keys.create(under_glass(ALICE), live_trader(), reason="the desk stands still")
    await desk.ops.break_glass.close(ALICE)
    told = (await desk.ledger())[-3:]
    assert [(event.action, event.subject, event.approval, event.reason) for event in told] == [
        ("break-glass.opened", glass.id, None, WHY),
        ("api_key.created", made.key.id, f"break-glass:{glass.id}", "the desk stands still"),
        ("break-glass.closed", glass.id, None, None),
    ]
    assert told[0].details == {"expires_at": glass.opened_at + 15 * MINUTE_MS}
    with pytest.raises(BreakGlassClosed):
        await desk.ops.keys.create(under_glass(ALICE), live_trader(), reason=WHY)


async def test_it_is_not_shown_together_with_an_approval(desk: Desk) -> None:
    """Which of them an act stands on is for whoever acts to say; neither is used."""
    need = await needed(desk.ops.keys.create(ALICE, live_trader()))
    both = under_glass(showing(ALICE, await desk.approved(need, BOB)))
    await desk.ops.break_glass.open(ALICE, 15 * MINUTE_MS, reason=WHY)
    with pytest.raises(TwoWarrants):
        await desk.ops.keys.create(both, live_trader(), reason=WHY)
    assert (await desk.approvals.get(need.id)).state == "approved"
    await desk.ops.keys.create(showing(ALICE, need.id), live_trader())


async def test_it_closes_by_itself(desk: Desk) -> None:
    """To the millisecond, and then another may be opened."""
    glass = await desk.ops.break_glass.open(ALICE, MINUTE_MS, reason=WHY)
    desk.room.clock.now_ms = glass.expires_at - 1
    await desk.ops.keys.create(under_glass(ALICE), live_trader(), reason=WHY)
    desk.room.clock.now_ms = glass.expires_at
    with pytest.raises(BreakGlassClosed):
        await desk.ops.keys.create(under_glass(ALICE), live_trader(), reason=WHY)
    assert await desk.ops.break_glass.find_all_open(ALICE) == []
    await desk.ops.break_glass.open(ALICE, MINUTE_MS, reason=WHY)


async def test_it_is_looked_at_again_in_the_transaction(desk: Desk) -> None:
    """Whoever has passed the gate before it closed has not acted yet."""
    await desk.ops.break_glass.open(ALICE, MINUTE_MS, reason=WHY)
    author = await desk.ops.gate.pass_(
        under_glass(ALICE), action="partner.unfreeze", subject="acme", partner="acme", reason=WHY
    )
    await desk.ops.partners.freeze(BOB, "acme")
    await desk.ops.break_glass.close(ALICE)
    with pytest.raises(BreakGlassClosed):
        await desk.room.custody.unfreeze_partner("acme", author=author)


async def test_it_is_open_for_whoever_opened_it(desk: Desk) -> None:
    """And only where they say that they mean it."""
    await desk.ops.break_glass.open(ALICE, MINUTE_MS, reason=WHY)
    with pytest.raises(BreakGlassClosed):
        await desk.ops.keys.create(under_glass(BOB), live_trader(), reason=WHY)
    with pytest.raises(ApprovalNeeded):
        await desk.ops.keys.create(ALICE, live_trader(), reason=WHY)
    with pytest.raises(ReasonMissing):
        await desk.ops.keys.create(under_glass(ALICE), live_trader())


async def test_it_can_not_be_prolonged(desk: Desk) -> None:
    """A second one would be the first, made longer."""
    await desk.ops.break_glass.open(ALICE, MINUTE_MS, reason=WHY)
    for by in (ALICE, under_glass(ALICE)):
        with pytest.raises(BreakGlassOpen):
            await desk.ops.break_glass.open(by, MINUTE_MS, reason=WHY)


@pytest.mark.parametrize("length_ms", [0, -1, 60 * MINUTE_MS + 1])
async def test_its_length_is_bounded(desk: Desk, length_ms: int) -> None:
    """An hour at most."""
    with pytest.raises(TooLong):
        await desk.ops.break_glass.open(ALICE, length_ms, reason=WHY)
    await desk.ops.break_glass.open(ALICE, 60 * MINUTE_MS, reason=WHY)


async def test_the_policies_may_bound_it_further(engine: AsyncEngine) -> None:
    """To what a night shift needs."""
    desk = await furnish(engine, POLICIES + '[break_glass]\nlongest = "5m"\n')
    with pytest.raises(TooLong, match="5 minutes"):
        await desk.ops.break_glass.open(ALICE, 6 * MINUTE_MS, reason=WHY)


@pytest.mark.parametrize("reason", [None, "", "a\nb"])
async def test_it_takes_a_reason(desk: Desk, reason: str | None) -> None:
    """One that can be read in a line."""
    with pytest.raises(InvalidReason):
        await desk.ops.break_glass.open(ALICE, MINUTE_MS, reason=reason)


@pytest.mark.parametrize(
    "by",
    [
        person("dave", without=(control.BREAK_GLASS,)),
        person("chief", partner="acme"),
        person("dave", without=(control.ALL_PARTNERS,)),
    ],
)
async def test_only_operators_of_the_gateway_open_it(desk: Desk, by: object) -> None:
    """Nobody who belongs to a partner, whatever their roles say; and nobody who has lost the right acts under it."""
    with pytest.raises(PermissionMissing):
        await desk.ops.break_glass.open(by, MINUTE_MS, reason=WHY)  # type: ignore[arg-type]  # a parameter
    with pytest.raises(PermissionMissing):
        await desk.ops.break_glass.close(by, reason=WHY)  # type: ignore[arg-type]  # the same
    lowered = person("alice", without=(control.BREAK_GLASS,))
    await desk.ops.break_glass.open(ALICE, MINUTE_MS, reason=WHY)
    with pytest.raises(PermissionMissing):
        await desk.ops.partners.create(under_glass(lowered), "new", "New", "standard", reason=WHY)


async def test_any_operator_may_close_it(desk: Desk) -> None:
    """It takes no second person to have everybody ask for one again."""
    glass = await desk.ops.break_glass.open(ALICE, MINUTE_MS, reason=WHY)
    (closed,) = await desk.ops.break_glass.close(BOB, glass.id)
    assert (closed.closed_by, closed.id) == ("cli:bob", glass.id)
    with pytest.raises(BreakGlassOver):
        await desk.ops.break_glass.close(BOB, glass.id)
    with pytest.raises(UnknownBreakGlass):
        await desk.ops.break_glass.close(BOB, "brg_none")
    assert await desk.ops.break_glass.close(ALICE) == ()


async def test_a_rule_may_ask_for_a_second_person_even_here(engine: AsyncEngine) -> None:
    """For those who are never alone; the length is part of what is approved."""
    desk = await furnish(engine, POLICIES + '[[approvals]]\naction = "break-glass"\n')
    need = await needed(desk.ops.break_glass.open(ALICE, MINUTE_MS, reason=WHY))
    await desk.ops.approvals.approve(BOB, need.id)
    with pytest.raises(Exception, match="another change"):
        await desk.ops.break_glass.open(showing(ALICE, need.id), 2 * MINUTE_MS, reason=WHY)
    await desk.ops.break_glass.open(showing(ALICE, need.id), MINUTE_MS, reason=WHY)


async def test_what_it_widens_is_no_second_person(desk: Desk) -> None:
    """Alice was shown the secret of a key that Bob let her make as a trader's: widened alone, it speaks for her."""
    need = await needed(desk.ops.keys.create(ALICE, live_trader()))
    await desk.approved(need, BOB)
    made = await desk.ops.keys.create(showing(ALICE, need.id), live_trader())
    await desk.ops.break_glass.open(ALICE, MINUTE_MS, reason=WHY)
    wider = KeyChange(roles=("trader", "approver"))
    await desk.ops.keys.change(under_glass(ALICE), made.key.id, wider, reason=WHY)
    await desk.ops.break_glass.close(ALICE)
    own = await needed(desk.ops.keys.create(ALICE, live_trader(label="for herself")))
    with pytest.raises(SelfApproval):
        await desk.approved(own, person("", actor=f"key:{made.key.id}"))


async def test_every_node_says_it_aloud(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Once when it is opened, once when it is over, and also a node that comes to it late."""
    early = BreakGlassAlarm(desk.break_glass)
    await early.refresh()
    assert caplog.records == []
    glass = await desk.ops.break_glass.open(ALICE, MINUTE_MS, reason="it's 'late'")
    late = BreakGlassAlarm(BreakGlass(desk.room.engine, desk.room.changes, os.urandom))
    for alarm in (early, early, late):
        await alarm.refresh()
    told = [(one.levelno, one.getMessage()) for one in caplog.records]
    assert [level for level, _ in told] == [logging.CRITICAL] * 2
    assert all(glass.id in line and "cli:alice" in line and "late" in line for _, line in told)
    await desk.ops.break_glass.close(ALICE)
    await early.refresh()
    assert (caplog.records[-1].levelno, len(caplog.records)) == (logging.WARNING, 3)
