"""What whoever reaches one partner alone is told of who did something: that it was somebody else, and no more."""

from __future__ import annotations

import pytest

from gateway.operations import Operator
from keys.changes import Author
from policies import control
from storage import audit
from tests.support import oauth_clients
from tests.support.desk import Desk, live_trader, needed, person

ALICE, BOB = person("alice"), person("bob")
ACME = person("carol", partner="acme")
ASKED = audit.Search(action="approval.approved")


async def told(desk: Desk, by: Operator) -> audit.AuditEvent:
    (entry,) = await desk.ops.audit.search(by, ASKED)
    assert (await desk.ops.audit.get(by, entry.seq)) == entry
    return entry.event


async def decided(desk: Desk, asker: Operator, decider: Operator) -> None:
    """One of them asks for a live key of acme's, the other agrees."""
    need = await needed(desk.ops.keys.create(asker, live_trader()))
    await desk.ops.approvals.approve(decider, need.id)


async def test_operators_are_told_everything(desk: Desk) -> None:
    await decided(desk, ALICE, BOB)
    event = await told(desk, ALICE)
    assert (event.actor, event.details["requested_by"]) == ("cli:bob", "cli:alice")


async def test_a_partner_learns_neither_who_asked_nor_who_agreed(desk: Desk) -> None:
    """Nor from where, nor by which request; nor may it find out by searching for a name."""
    await decided(desk, ALICE, BOB)
    event = await told(desk, ACME)
    assert (event.actor, event.details["requested_by"]) == ("operator", "operator")
    assert (event.source, event.request_id, event.approval) == (None, None, None)
    assert event.details["subject"] == "acme"
    by_name = await desk.ops.audit.search(ACME, audit.Search(actor="cli:bob"))
    assert by_name == []


async def test_whom_a_decision_names_is_veiled_whoever_decided(desk: Desk) -> None:
    """An officer's key may be the partner's own: then who decided is told, and still not who had asked."""
    created = await desk.room.custody.create_key(live_trader(roles=("approver",)), author=Author("setup"))
    officer = person("", actor=f"key:{created.key.id}", permissions=control.ALL)
    await decided(desk, ALICE, officer)
    event = await told(desk, ACME)
    assert (event.actor, event.details["requested_by"]) == (officer.actor, "operator")


async def test_a_partner_sees_its_own_wish(desk: Desk) -> None:
    """What its own keys asked for stands there under their ids, whoever agreed."""
    created = await desk.room.custody.create_key(live_trader(), author=Author("setup"))
    asker = person("", partner="acme", actor=f"key:{created.key.id}")
    await decided(desk, asker, BOB)
    event = await told(desk, ACME)
    assert (event.actor, event.details["requested_by"]) == ("operator", asker.actor)


@pytest.mark.parametrize(
    "other", [person("dan", partner="zephyr"), person("eve", without=(control.ALL_PARTNERS,))]
)
async def test_what_concerns_another_partner_is_not_there(desk: Desk, other: Operator) -> None:
    """Nor is anything for whoever belongs to no partner and reaches none."""
    await decided(desk, ALICE, BOB)
    await desk.room.custody.create_key(live_trader(), author=Author("setup"))
    assert await desk.ops.audit.search(other, ASKED) == []
    assert (await desk.ops.keys.find_page(other)).keys == ()
    assert (await desk.ops.approvals.find_page(other)).approvals == ()


async def test_a_partner_sees_what_its_own_client_ended(desk: Desk) -> None:
    """A token that one revoked, by the client's id; what another partner's did stays somebody else's."""
    client = await oauth_clients.made(desk.room.oauth_clients)
    for actor in (f"client:{client.id}", "client:prc_paper_0000000000000000000000000000"):
        async with desk.room.changes.begin(Author(actor)) as change:
            await change.record("access_token.revoked", client.id, environment="paper", partner="acme")
    entries = await desk.ops.audit.search(ACME, audit.Search(action="access_token.revoked"))
    assert {entry.event.actor for entry in entries} == {f"client:{client.id}", "operator"}
