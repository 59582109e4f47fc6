"""Who sees a request for a second person, who decides it, and how many there may be."""

from typing import get_args

import pytest

from gateway.operations import EnvironmentForeign, PermissionMissing, RoleMissing
from keys import approvals
from keys.approval_records import Wished
from keys.approvals import UnknownApproval
from policies import control
from tests.support.desk import Desk, live_trader, needed, person, showing

STATES = get_args(Wished)
ALICE, BOB, CAROL = person("alice"), person("bob"), person("carol")


async def test_the_same_wish_is_the_same_request(desk: Desk) -> None:
    """Who asks twice is not asked about twice, and hears when it has been approved; the wish of another is another."""
    first = await needed(desk.ops.keys.create(ALICE, live_trader(cidrs=("192.0.2.0/24",))))
    assert (await needed(desk.ops.keys.create(ALICE, live_trader(cidrs=("192.0.2.0/24",))))).id == first.id
    assert (await needed(desk.ops.keys.create(CAROL, live_trader(cidrs=("192.0.2.0/24",))))).id != first.id
    await desk.approved(first, BOB)
    again = await needed(desk.ops.keys.create(ALICE, live_trader(cidrs=("192.0.2.0/24",))))
    assert (again.id, again.state) == (first.id, "approved")


async def test_requests_of_one_person_are_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody fills the store with wishes."""
    monkeypatch.setattr(approvals, "_MOST_PENDING", 3)
    for number in range(3):
        await needed(desk.ops.keys.create(ALICE, live_trader(label=str(number))))
    with pytest.raises(approvals.TooManyPending):
        await desk.ops.keys.create(ALICE, live_trader(label="one more"))
    await needed(desk.ops.keys.create(CAROL, live_trader(label="one more")))


async def test_deciding_takes_permission_and_environment(desk: Desk) -> None:
    """To see is not to decide, and a paper credential decides nothing live."""
    need = await needed(desk.ops.keys.create(ALICE, live_trader()))
    with pytest.raises(PermissionMissing, match=control.APPROVE):
        await desk.ops.approvals.approve(person("dave", without=(control.APPROVE,)), need.id)
    with pytest.raises(PermissionMissing, match=control.APPROVALS_READ):
        await desk.ops.approvals.get(person("dave", without=(control.APPROVALS_READ,)), need.id)
    with pytest.raises(EnvironmentForeign):
        await desk.ops.approvals.approve(person("dave", environments=frozenset({"paper"})), need.id)
    assert (await desk.ops.approvals.get(BOB, need.id)).state == "pending"


async def test_a_partner_decides_only_what_a_partner_asked(desk: Desk) -> None:
    """What is out of reach does not exist; what an operator of the gateway asked for, a partner does not let pass."""
    ours, theirs = person("desk", partner="acme"), person("chief", partner="acme")
    stranger = person("stranger", partner="zephyr")
    by_partner = await needed(desk.ops.keys.create(ours, live_trader()))
    by_operator = await needed(desk.ops.keys.create(ALICE, live_trader(label="for acme")))
    for approval in (by_partner, by_operator):
        for look in (desk.ops.approvals.get, desk.ops.approvals.approve, desk.ops.approvals.refuse):
            with pytest.raises(UnknownApproval):
                await look(stranger, approval.id)
    assert (await desk.ops.approvals.find_page(stranger)).approvals == ()
    assert {one.id for one in (await desk.ops.approvals.find_page(theirs)).approvals} == {
        by_partner.id,
        by_operator.id,
    }
    with pytest.raises(UnknownApproval):
        await desk.ops.approvals.approve(theirs, by_operator.id)
    await desk.ops.keys.create(showing(ours, await desk.approved(by_partner, theirs)), live_trader())


async def test_an_act_on_no_partner_is_out_of_a_partners_reach(desk: Desk) -> None:
    """A partner that does not exist yet is nobody's to decide about."""
    need = await needed(desk.ops.partners.create(ALICE, "new", "New", "standard"))
    with pytest.raises(UnknownApproval):
        await desk.ops.approvals.approve(person("chief", partner="acme"), need.id)


async def test_a_rule_may_ask_for_a_role(desk: Desk) -> None:
    """Permission alone is not enough; a shell, which has no roles, is bound by none."""
    need = await needed(desk.ops.partners.create(ALICE, "new", "New", "standard"))
    assert need.expires_at - need.requested_at == 3_600_000
    with pytest.raises(RoleMissing):
        await desk.ops.approvals.approve(BOB, need.id)
    await desk.ops.approvals.approve(person("rita", roles=frozenset({"risk"})), need.id)
    await desk.ops.partners.create(showing(ALICE, need.id), "new", "New", "standard")
    other = await needed(desk.ops.partners.create(ALICE, "newer", "Newer", "standard"))
    await desk.ops.approvals.approve(person("shell", every_role=True), other.id)


async def test_pages_go_back_in_time(desk: Desk) -> None:
    """Newest first, each once, to the end."""
    made = []
    for number in range(5):
        desk.room.clock.now_ms += 1
        made.append((await needed(desk.ops.keys.create(ALICE, live_trader(label=str(number))))).id)
    found: list[str] = []
    after: str | None = None
    while True:
        page = await desk.ops.approvals.find_page(ALICE, after=after, limit=2)
        found += [one.id for one in page.approvals]
        after = page.after
        if after is None:
            break
    assert found == made[::-1]


async def test_requests_are_found_by_what_has_become_of_them(desk: Desk) -> None:
    """As each reads now: nobody writes down that one has expired, and an old yes is no open one."""
    made = [await needed(desk.ops.keys.create(ALICE, live_trader(label=str(each)))) for each in range(6)]
    pending, approved, refused, withdrawn, used, lapsed = (one.id for one in made)
    for each in (approved, used, lapsed):
        await desk.ops.approvals.approve(BOB, each)
    await desk.ops.approvals.refuse(BOB, refused)
    await desk.ops.approvals.withdraw(ALICE, withdrawn)
    await desk.ops.keys.create(showing(ALICE, used), live_trader(label="4"))
    settled = {"refused": {refused}, "withdrawn": {withdrawn}, "used": {used}}
    open_ = {"pending": {pending}, "approved": {approved, lapsed}, "open": {pending, approved, lapsed}}
    assert await found_by_state(desk) == {**settled, **open_, "expired": set()}
    desk.room.clock.now_ms = made[0].expires_at
    closed: dict[str, set[str]] = {"pending": set(), "approved": set(), "open": set()}
    assert await found_by_state(desk) == {**settled, **closed, "expired": open_["open"]}


async def found_by_state(desk: Desk) -> dict[str, set[str]]:
    pages = {state: await desk.ops.approvals.find_page(ALICE, state=state) for state in STATES}
    return {state: {one.id for one in page.approvals} for state, page in pages.items()}
