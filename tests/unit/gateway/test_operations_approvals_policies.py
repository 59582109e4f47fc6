"""What changes between a yes and its use: policies, roles, and whether the one who gave it is trusted still."""

import pytest

from gateway.operations import RoleMissing
from keys import approvals
from keys.changes import Author
from tests.support.desk import POLICIES, Desk, live_trader, needed, person, showing

ALICE, BOB = person("alice"), person("bob")
RISK = person("rita", roles=frozenset({"risk"}))
TRADES = '"orders:read", "orders:write"'
RULE = 'action = "key.create"\nenvironment = "live"\n'


async def test_a_role_that_has_grown_is_another_change(desk: Desk) -> None:
    """Bob agreed to a key that sees orders; by its name alone the role would let it place them."""
    every = POLICIES.replace(RULE + "trading = true", RULE)
    before = desk.operations_under(every)
    viewer = live_trader(roles=("viewer",))
    need = await needed(before.keys.create(ALICE, viewer))
    assert need.change["grants"] == ["orders:read"]
    await desk.approved(need, BOB)
    grown = desk.operations_under(every.replace('["orders:read"]', f"[{TRADES}]"))
    with pytest.raises(approvals.ChangeAltered):
        await grown.keys.create(showing(ALICE, need.id), viewer)
    await before.keys.create(showing(ALICE, need.id), viewer)


async def test_rules_that_have_tightened_count(desk: Desk) -> None:
    """Bob's yes was enough when he gave it, and is not by now; what it was given for is as before."""
    need = await needed(desk.ops.keys.create(ALICE, live_trader()))
    await desk.approved(need, BOB)
    tight = desk.operations_under(POLICIES.replace(RULE, RULE + 'approvers = ["risk"]\n'))
    with pytest.raises(approvals.RulesTightened):
        await tight.keys.create(showing(ALICE, need.id), live_trader())
    await desk.ops.approvals.withdraw(ALICE, need.id)
    anew = await needed(tight.keys.create(ALICE, live_trader()))
    with pytest.raises(RoleMissing):
        await desk.approved(anew, BOB)
    await desk.approved(anew, RISK)
    await tight.keys.create(showing(ALICE, anew.id), live_trader())


async def test_a_role_that_decides_is_handed_out_by_who_has_it(desk: Desk) -> None:
    """Two others could else make a key that lets pass what only risk may."""
    need = await needed(desk.ops.keys.create(ALICE, live_trader(environment="paper", roles=("risk",))))
    assert need.approvers == (("risk",),)
    with pytest.raises(RoleMissing):
        await desk.approved(need, BOB)
    await desk.approved(need, RISK)


async def test_a_stopped_keys_yes_is_worth_nothing(desk: Desk) -> None:
    """The approver's key had leaked: what it let pass before it was frozen is not done after."""
    key = (await desk.room.create_key(environment="live", roles=("approver",))).key
    need = await needed(desk.ops.keys.create(ALICE, live_trader()))
    await desk.approved(need, person("", actor=f"key:{key.id}"))
    await desk.room.custody.freeze_key(key.id, author=Author("cli:rita"))
    with pytest.raises(approvals.DeciderStopped):
        await desk.ops.keys.create(showing(ALICE, need.id), live_trader())
    assert (await desk.approvals.get(need.id)).state == "approved"
