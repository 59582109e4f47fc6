"""Who may keep accounts: permissions, reach, roles that are one's own to give, and second persons."""

from __future__ import annotations

from typing import Any

import pytest

from auth.people.accounts import Invitation
from auth.people.failures import AccountNotActive, AccountNotDisabled, UnknownAccount
from auth.people.records import Account
from gateway.operations import ApprovalNeeded, EnvironmentForeign, Operator, PermissionMissing
from gateway.operations.people_operations import RoleForeign
from keys import partners
from keys.approvals import SubjectMoved
from policies import control, document
from storage import audit, engine
from tests.support.desk import Desk, needed, person, showing

OFFICER = person("olga")
SECOND = person("sam")
ADMIN = person("adam", partner="acme", roles=frozenset({"viewer"}))
ACMES = Invitation(email="ada@acme.example", name="Ada", partner="acme", roles=("viewer",))


def asked(**changes: Any) -> Invitation:  # noqa: ANN401  fields of any type
    fields = {"email": "ada@acme.example", "name": "Ada", "partner": "acme", "roles": ("viewer",)}
    return Invitation(**fields | changes)


async def invited(desk: Desk, **changes: Any) -> Account:  # noqa: ANN401  the same
    return await desk.ops.people.invite(OFFICER, asked(**changes))


async def test_a_partners_admin_keeps_that_partners_people(desk: Desk) -> None:
    """They invite, see, and shut out their own; whoever is another's, or nobody's, does not exist for them."""
    await invited(desk, email="zoe@zephyr.example", partner="zephyr")
    await invited(desk, email="olga@gate.example", partner=None)
    await desk.ops.people.invite(ADMIN, ACMES)
    seen = await desk.ops.people.find_all(ADMIN)
    assert [each.email for each in seen] == ["ada@acme.example"]
    for named in ("zoe@zephyr.example", "olga@gate.example", "nobody@gate.example"):
        for act in (
            desk.ops.people.get(ADMIN, named),
            desk.ops.people.disable(ADMIN, named),
            desk.ops.people.set_roles(ADMIN, named, ()),
            desk.ops.people.sign_out(ADMIN, named),
            desk.ops.people.reset(ADMIN, named),
            desk.ops.people.remove_factors(ADMIN, named),
            desk.ops.people.enable(ADMIN, named),
        ):
            with pytest.raises(UnknownAccount):
                await act
    assert (await desk.ops.people.disable(ADMIN, "ada@acme.example")).state == "disabled"


async def test_a_partners_admin_invites_nobody_elsewhere(desk: Desk) -> None:
    """Neither to another partner nor to the gateway's own people."""
    with pytest.raises(partners.UnknownPartner):
        await desk.ops.people.invite(ADMIN, asked(partner="zephyr"))
    with pytest.raises(PermissionMissing):
        await desk.ops.people.invite(ADMIN, asked(partner=None))
    with pytest.raises(partners.UnknownPartner):
        await desk.ops.people.find_all(ADMIN, partner="zephyr")


async def test_a_partners_admin_gives_and_takes_what_they_hold(desk: Desk) -> None:
    """A role that is not theirs can be neither given nor taken away."""
    with pytest.raises(RoleForeign):
        await desk.ops.people.invite(ADMIN, asked(roles=("viewer", "trader")))
    account = await invited(desk, roles=("trader",))
    with pytest.raises(RoleForeign):
        await desk.ops.people.set_roles(ADMIN, account.id, ())
    both = await desk.ops.people.set_roles(ADMIN, account.id, ("trader", "viewer"))
    assert both.roles == ("trader", "viewer")


async def test_nobody_hands_out_control_that_they_lack(desk: Desk) -> None:
    """Be it by inviting, by other roles, or by letting somebody in again."""
    weak = person("walt", without=(control.APPROVE,))
    with pytest.raises(PermissionMissing):
        await desk.ops.people.invite(weak, asked(roles=("approver",)))
    account = await invited(desk)
    with pytest.raises(PermissionMissing):
        await desk.ops.people.set_roles(weak, account.id, ("approver",))


async def test_unknown_roles_are_refused(desk: Desk) -> None:
    """A name that leads nowhere is an error, and not a role of the future."""
    with pytest.raises(document.UnknownName):
        await invited(desk, roles=("king",))


@pytest.mark.parametrize(
    ("by", "failure"),
    [
        (person("ro", without=(control.PEOPLE_WRITE,)), PermissionMissing),
        (person("paper", environments=frozenset({"paper"})), EnvironmentForeign),
    ],
)
async def test_what_changing_takes(desk: Desk, by: Operator, failure: type[Exception]) -> None:
    """The permission, and a credential for live: accounts belong to neither environment."""
    account = await invited(desk)
    for act in (
        desk.ops.people.invite(by, asked(email="x@acme.example")),
        desk.ops.people.set_roles(by, account.id, ()),
        desk.ops.people.disable(by, account.id),
        desk.ops.people.sign_out(by, account.id),
        desk.ops.people.reset(by, account.id),
        desk.ops.people.remove_factors(by, account.id),
    ):
        with pytest.raises(failure):
            await act


async def test_looking_takes_a_permission(desk: Desk) -> None:
    """Who works here is not everybody's business."""
    blind = person("bo", without=(control.PEOPLE_READ,))
    with pytest.raises(PermissionMissing):
        await desk.ops.people.find_all(blind)
    with pytest.raises(PermissionMissing):
        await desk.ops.people.get(blind, "ada@acme.example")


async def test_handing_out_the_power_to_approve_takes_two(desk: Desk) -> None:
    """As with keys: nobody makes themselves a second person."""
    need = await needed(desk.ops.people.invite(OFFICER, asked(roles=("approver",))))
    assert need.change == {
        "name": "Ada",
        "roles": ["approver"],
        "grants": ["control:all-partners", "control:approvals-read", "control:approve"],
    }
    approved = await desk.approved(need, SECOND)
    account = await desk.ops.people.invite(showing(OFFICER, approved), asked(roles=("approver",)))
    assert account.roles == ("approver",)
    with pytest.raises(ApprovalNeeded):
        await desk.ops.people.remove_factors(OFFICER, account.id)


async def test_the_ledger_knows_nobody_by_name_or_address(desk: Desk) -> None:
    """Whoever approves sees whom they invite; what is never forgotten says which yes it was, and for what roles."""
    need = await needed(desk.ops.people.invite(OFFICER, asked(roles=("approver",))))
    assert (need.subject, need.change["name"]) == ("ada@acme.example", "Ada")
    await desk.ops.people.invite(
        showing(OFFICER, await desk.approved(need, SECOND)), asked(roles=("approver",))
    )
    async with engine.reading(desk.room.engine) as conn:
        events = [entry.event for entry in await audit.tail(conn, 500)]
    told = [each for each in events if each.subject == need.id or each.action == "account.invited"]
    assert len(told) == 4
    assert "ada" not in repr(told).lower()
    (requested,) = [each for each in told if each.action == "approval.requested"]
    assert "approver" in repr(requested.details["change"])
    assert requested.details["digest"] == need.digest


async def test_shutting_out_takes_one_and_letting_in_two(desk: Desk) -> None:
    """An emergency never waits; taking it back always does."""
    account = await invited(desk)
    with pytest.raises(AccountNotDisabled):
        await desk.ops.people.enable(OFFICER, account.id)
    await desk.ops.people.disable(OFFICER, account.id, reason="gone")
    with pytest.raises(AccountNotActive):
        await desk.ops.people.reset(OFFICER, account.id)
    need = await needed(desk.ops.people.enable(OFFICER, account.id))
    approved = await desk.approved(need, SECOND)
    back = await desk.ops.people.enable(showing(OFFICER, approved), account.id)
    assert (back.state, back.disabled_reason) == ("invited", None)


async def test_an_approval_is_for_the_account_as_it_was(desk: Desk) -> None:
    """Changed in between, it is asked for again."""
    account = await invited(desk)
    need = await needed(desk.ops.people.set_roles(OFFICER, account.id, ("approver",)))
    approved = await desk.approved(need, SECOND)
    await desk.ops.people.sign_out(OFFICER, account.id)
    with pytest.raises(SubjectMoved):
        await desk.ops.people.set_roles(showing(OFFICER, approved), account.id, ("approver",))
