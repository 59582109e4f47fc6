"""Four eyes and break-glass through the control surface: who may decide what, and what each of them is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keys.changes import Author
from tests.support import control_roles, problems, rawhttp
from tests.support.control_node import ControlNode, control_node
from tests.support.signing import Signer

APPROVALS = "/control/v1/approvals"
GLASS = "/control/v1/break-glass"
WHY = {"reason": "a test"}
RULES = [
    {"action": "key.widen", "environment": "paper"},
    {"action": "partner.change", "approvers": [control_roles.AUDITOR]},
]


@pytest.fixture(params=["sqlite", "postgresql"])
async def node(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ControlNode]:
    """A node whose policies ask for second persons, over either database."""
    storage = None if request.param == "sqlite" else request.getfixturevalue("migrated_postgres_url")
    policies = control_roles.policies(two_persons=True, approvals=RULES)
    async with control_node(tmp_path, policies, storage=storage) as found:
        await found.partner("cygnus")
        yield found


@pytest.fixture
async def alice(node: ControlNode) -> Signer:
    return await node.key(control_roles.OFFICER, author=Author("cli:alice"))


@pytest.fixture
async def bob(node: ControlNode) -> Signer:
    return await node.key(control_roles.OFFICER, partner="borealis", author=Author("cli:bob"))


@pytest.fixture
async def admin(node: ControlNode) -> Signer:
    """Of acme, on paper."""
    return await node.key(control_roles.ADMIN, environment="paper", author=Author("cli:carol"))


async def needed(node: ControlNode, by: Signer, method: str, target: str, body: object) -> str:
    """The id of the approval that this is told to need."""
    refused = await node.ask(by, method, target, body, if_match="*")
    return str(problems.check(refused, "approval_needed")["approval_id"])


async def frozen_partner(node: ControlNode) -> str:
    """How to thaw it. Nobody's here: whose partner is frozen asks for nothing more."""
    await node.custody.freeze_partner("cygnus", author=Author("cli:dave"))
    return "/control/v1/partners/cygnus/unfreeze"


async def decide(node: ControlNode, by: Signer, approval_id: str, verb: str = "approve") -> rawhttp.Answer:
    return await node.ask(by, "POST", f"{APPROVALS}/{approval_id}/{verb}", {"reason": "looked at it"})


async def test_one_asks_another_agrees_and_the_first_acts(node: ControlNode, alice: Signer) -> None:
    """The whole way: asked, seen, agreed to by somebody else, done once, and told everywhere who it was."""
    bob = await node.key(control_roles.OFFICER, author=Author("cli:bob"))
    target = await frozen_partner(node)
    approval_id = await needed(node, alice, "POST", target, WHY)
    (waiting,) = (await node.ask(bob, "GET", f"{APPROVALS}?state=open")).json()["items"]
    assert (waiting["id"], waiting["state"], waiting["action"]) == (
        approval_id,
        "pending",
        "partner.unfreeze",
    )
    assert waiting["requested_by"] == f"key:{alice.key_id}"
    agreed = await decide(node, bob, approval_id)
    assert (agreed.status, agreed.json()["state"]) == (200, "approved")
    assert (await node.ask(bob, "GET", f"{APPROVALS}/{approval_id}")).json() == agreed.json()
    done = await node.ask(alice, "POST", target, WHY, if_match="*", portreeve_approval=approval_id)
    assert (done.status, done.json()["frozen_at"]) == (200, None)
    assert done.header("portreeve-revision") == (done.header("etag") or "").strip('"r')
    used = (await node.ask(alice, "GET", f"{APPROVALS}?state=used")).json()["items"]
    assert [(each["id"], each["decided_by"]) for each in used] == [(approval_id, f"key:{bob.key_id}")]
    assert (await node.ask(alice, "GET", f"{APPROVALS}?state=open")).json()["items"] == []
    (entry,) = (await node.ask(alice, "GET", "/control/v1/audit?action=partner.unfrozen")).json()["items"]
    assert entry["approval"] == approval_id


async def test_nobody_is_their_own_second_person(node: ControlNode, alice: Signer) -> None:
    """Neither with the key that asked, nor with another one that the same person made."""
    second = await node.key(control_roles.OFFICER, author=Author("cli:Alice"))
    approval_id = await needed(node, alice, "POST", await frozen_partner(node), WHY)
    for signer in (alice, second):
        for verb in ("approve", "refuse"):
            problems.check(await decide(node, signer, approval_id, verb), "conflict")
    shown = await node.ask(alice, "GET", f"{APPROVALS}/{approval_id}")
    assert shown.json()["state"] == "pending"


async def test_an_approval_is_for_exactly_the_change_that_was_seen(node: ControlNode, admin: Signer) -> None:
    """Not for another range, nor for the same key once it has been changed, nor for anybody else."""
    other = await node.key(control_roles.ADMIN, environment="paper", author=Author("cli:erin"))
    key = await node.make_key("viewer", partner="acme", environment="paper")
    target = f"/control/v1/keys/{key.key_id}"
    wider = {"roles": ["viewer", "trader"]}
    approval_id = await needed(node, admin, "PATCH", target, wider)
    shown = (await node.ask(other, "GET", f"{APPROVALS}/{approval_id}")).json()
    assert shown["change"]["after"] == wider
    assert shown["change"]["widened"] == ["roles"]
    assert (await decide(node, other, approval_id)).status == 200
    stolen = await node.ask(other, "PATCH", target, wider, if_match="*", portreeve_approval=approval_id)
    problems.check(stolen, "not_found")
    altered = {"roles": ["trader"], "label": "another"}
    for body in (altered, {**wider, "cidrs": ["192.0.2.0/24"]}):
        refused = await node.ask(admin, "PATCH", target, body, if_match="*", portreeve_approval=approval_id)
        problems.check(refused, "conflict")
    assert (await node.ask(admin, "PATCH", target, {"label": "moved"}, if_match="*")).status == 200
    moved = await node.ask(admin, "PATCH", target, wider, if_match="*", portreeve_approval=approval_id)
    problems.check(moved, "conflict")


async def test_what_was_changed_meanwhile_is_not_even_asked_about(node: ControlNode, alice: Signer) -> None:
    """Nobody's time is taken for a change that rests on a state which is gone."""
    stale = await node.ask(alice, "POST", await frozen_partner(node), WHY, if_match='"r1"')
    problems.check(stale, "precondition_failed")
    assert (await node.ask(alice, "GET", APPROVALS)).json()["items"] == []


async def test_a_partner_is_told_only_that_it_was_somebody_else(
    node: ControlNode, admin: Signer, alice: Signer, bob: Signer
) -> None:
    """Of an operator's request about its own key: what and why, and neither who asked nor who agreed."""
    key = await node.make_key("viewer", partner="acme", environment="live")
    await node.ask(bob, "POST", f"/control/v1/keys/{key.key_id}/freeze", WHY, if_match="*")
    approval_id = await needed(node, bob, "POST", f"/control/v1/keys/{key.key_id}/unfreeze", WHY)
    theirs = await needed(node, bob, "POST", await frozen_partner(node), WHY)
    # An officer whose own key is acme's: that it decided is acme's to know, whose wish it was is not.
    assert (await decide(node, alice, approval_id)).status == 200
    listed = await node.ask(admin, "GET", APPROVALS)
    (told,) = listed.json()["items"]
    assert (told["id"], told["requested_by"]) == (approval_id, "operator")
    assert told["decided_by"] == f"key:{alice.key_id}"
    audit = await node.ask(admin, "GET", f"/control/v1/audit?subject={approval_id}")
    approved, requested = audit.json()["items"]
    assert (approved["actor"], approved["details"]["requested_by"]) == (f"key:{alice.key_id}", "operator")
    assert requested["actor"] == "operator"
    one = await node.ask(admin, "GET", f"{APPROVALS}/{approval_id}")
    for answer in (listed, audit, one):
        assert bob.key_id not in answer.body.decode()
    problems.check(await node.ask(admin, "GET", f"{APPROVALS}/{theirs}"), "not_found")
    problems.check(await decide(node, admin, approval_id), "not_found")


async def test_of_anothers_request_not_even_its_state_is_told(
    node: ControlNode, admin: Signer, alice: Signer, bob: Signer
) -> None:
    """To withdraw it, open or settled, answers as if there were none."""
    open_ = await needed(node, alice, "POST", await frozen_partner(node), WHY)
    key = await node.make_key("viewer", partner="borealis", environment="live")
    await node.ask(alice, "POST", f"/control/v1/keys/{key.key_id}/freeze", WHY, if_match="*")
    settled = await needed(node, alice, "POST", f"/control/v1/keys/{key.key_id}/unfreeze", WHY)
    assert (await decide(node, alice, settled, "withdraw")).json()["state"] == "withdrawn"
    problems.check(await decide(node, alice, settled, "withdraw"), "conflict")
    for signer in (admin, bob):
        told = set()
        for approval_id in (open_, settled, "apr_0000000000000000"):
            problem = problems.check(await decide(node, signer, approval_id, "withdraw"), "not_found")
            told.add(str(problem["detail"]).replace(approval_id, ""))
        assert len(told) == 1


async def test_to_show_anothers_approval_tells_nothing_of_it(
    node: ControlNode, admin: Signer, alice: Signer
) -> None:
    """Whatever else is wrong with the change, and with or without a reason of one's own."""
    theirs = await needed(node, alice, "POST", await frozen_partner(node), WHY)
    key = await node.make_key("viewer", partner="acme", environment="paper")
    target = f"/control/v1/keys/{key.key_id}"
    for tag, code in (("*", "not_found"), ('"r1"', "precondition_failed")):
        for body in ({"roles": ["trader"]}, {"roles": ["trader"], **WHY}):
            told = set()
            for approval_id in (theirs, "apr_0000000000000000"):
                shown = {"if_match": tag, "portreeve_approval": approval_id}
                problem = problems.check(await node.ask(admin, "PATCH", target, body, **shown), code)
                told.add(str(problem["detail"]).replace(approval_id, ""))
            assert len(told) == 1, (tag, body)


async def test_a_rule_may_ask_for_a_role(node: ControlNode, alice: Signer, bob: Signer) -> None:
    """To hold `control:approve` is then not enough."""
    body = {"name": "Acme and Sons"}
    approval_id = await needed(node, alice, "PATCH", "/control/v1/partners/acme", body)
    refused = problems.check(await decide(node, bob, approval_id), "permission_denied")
    assert control_roles.AUDITOR in str(refused["detail"])
    both = await node.key(control_roles.OFFICER, control_roles.AUDITOR, author=Author("cli:frank"))
    assert (await decide(node, both, approval_id)).status == 200


async def test_requests_are_told_by_state_and_page(node: ControlNode, admin: Signer, alice: Signer) -> None:
    """Newest first, each once; a place in somebody else's list is none in one's own."""
    asked = []
    for label in ("one", "two", "three"):
        key = await node.make_key("viewer", partner="acme", environment="paper")
        body = {"roles": ["trader"], "label": label}
        asked.append(await needed(node, admin, "PATCH", f"/control/v1/keys/{key.key_id}", body))
    await decide(node, admin, asked[1], "withdraw")
    seen, page = [], f"{APPROVALS}?limit=1&state=pending"
    while page:
        answer = await node.ask(admin, "GET", page)
        seen += [each["id"] for each in answer.json()["items"]]
        page = answer.json()["next"]
    assert seen == [asked[2], asked[0]]
    theirs = await needed(node, alice, "POST", await frozen_partner(node), WHY)
    first = (await node.ask(alice, "GET", f"{APPROVALS}?limit=1")).json()
    assert first["items"][0]["id"] == theirs
    cursor = first["next"].partition("after=")[2]
    assert "after" in str(
        problems.check(await node.ask(admin, "GET", f"{APPROVALS}?after={cursor}"), "invalid_request")
    )
    problems.check(await node.ask(admin, "GET", f"{APPROVALS}?state=unknown"), "invalid_request")


async def test_break_glass_is_for_the_key_that_opened_it(
    node: ControlNode, alice: Signer, bob: Signer
) -> None:
    """Each act says so, by the id of what is open; nobody else's is any use, nor one that is over."""
    target = await frozen_partner(node)
    opened = await node.ask(alice, "POST", GLASS, {"reason": "02:40"}, idempotency_key="glass-0001")
    again = await node.ask(alice, "POST", GLASS, {"reason": "02:40"}, idempotency_key="glass-0001")
    assert (opened.status, again.json()) == (201, opened.json())
    glass_id = opened.json()["id"]
    assert opened.json()["expires_at"] - opened.json()["opened_at"] == 900_000
    assert (await node.ask(bob, "GET", opened.header("location") or "")).json() == opened.json()
    assert (await node.ask(bob, "GET", GLASS)).json()["items"] == [opened.json()]
    await needed(node, alice, "POST", target, WHY)
    for signer, glass in ((bob, glass_id), (alice, "brg_0000000000000000"), (alice, "yes")):
        refused = await node.ask(signer, "POST", target, WHY, if_match="*", portreeve_break_glass=glass)
        problems.check(refused, "conflict")
    done = await node.ask(alice, "POST", target, WHY, if_match="*", portreeve_break_glass=glass_id)
    assert done.status == 200, str(done)
    (entry,) = (await node.ask(alice, "GET", "/control/v1/audit?action=partner.unfrozen")).json()["items"]
    assert entry["approval"] == f"break-glass:{glass_id}"
    closed = await node.ask(bob, "POST", f"{GLASS}/{glass_id}/close", {})
    assert (closed.status, closed.json()["closed_by"]) == (200, f"key:{bob.key_id}")
    assert (await node.ask(bob, "GET", GLASS)).json()["items"] == []
    problems.check(await node.ask(bob, "POST", f"{GLASS}/{glass_id}/close", {}), "conflict")
    problems.check(await node.ask(bob, "POST", f"{GLASS}/brg_none/close", {}), "not_found")
    await frozen_partner(node)
    over = await node.ask(alice, "POST", target, WHY, if_match="*", portreeve_break_glass=glass_id)
    problems.check(over, "conflict")
    problems.check(await node.ask(alice, "POST", GLASS, {"reason": "x", "length_ms": 0}), "invalid_request")
    problems.check(await node.ask(alice, "POST", GLASS, {}), "invalid_request")


async def test_a_partner_does_not_thaw_what_the_gateway_s_operators_froze(
    node: ControlNode, admin: Signer
) -> None:
    """It is told that it may not, and nobody is asked; what one of its own froze takes a second one of its own."""
    key = await node.make_key("viewer", partner="acme", environment="paper")
    officer = await node.key(control_roles.OFFICER, partner="borealis", environment="paper")
    target = f"/control/v1/keys/{key.key_id}"
    assert (await node.ask(admin, "POST", f"{target}/freeze", WHY, if_match="*")).status == 200
    assert (await node.ask(officer, "POST", f"{target}/freeze", WHY, if_match="*")).status == 200
    problem = problems.check(
        await node.ask(admin, "POST", f"{target}/unfreeze", WHY, if_match="*"), "conflict"
    )
    assert "only they thaw it" in str(problem["detail"])
    assert (await node.ask(admin, "GET", APPROVALS)).json()["items"] == []
    another = await node.make_key("viewer", partner="acme", environment="paper")
    target = f"/control/v1/keys/{another.key_id}"
    assert (await node.ask(admin, "POST", f"{target}/freeze", WHY, if_match="*")).status == 200
    approval_id = await needed(node, admin, "POST", f"{target}/unfreeze", WHY)
    second = await node.key(control_roles.ADMIN, environment="paper", author=Author("cli:erin"))
    assert (await decide(node, second, approval_id)).status == 200
    thawed = await node.ask(
        admin, "POST", f"{target}/unfreeze", WHY, if_match="*", portreeve_approval=approval_id
    )
    assert thawed.status == 200
