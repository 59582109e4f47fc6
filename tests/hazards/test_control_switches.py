"""The kill switch, the nodes and the changes of keys and partners through the control surface."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from keys.changes import Author
from tests.support import control_roles, problems
from tests.support.control_node import ControlNode, control_node
from tests.support.signing import Signer

V1 = "/control/v1"
WHY = {"reason": "a test"}
REFUSED: list[tuple[Any, str]] = [
    ({"roles": None}, "#/roles"),
    ({"roles": []}, "#/roles"),
    ({"roles": ["none-such"]}, "#/roles"),
    ({"permissions": ["orders:none"]}, "#/permissions"),
    ({"cidrs": ["everywhere"]}, "#/cidrs"),
    ({"expires_at": 5}, "#/expires_at"),
    ({"partner": "borealis"}, "#"),
    ({"environment": "paper"}, "#"),
    ({"algorithm": "ed25519"}, "#"),
    ({"frozen_at": None}, "#"),
    ([{"op": "replace", "path": "/roles", "value": ["trader"]}], "#"),
]


@pytest.fixture(params=["sqlite", "postgresql"])
async def node(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ControlNode]:
    """A node that asks for second persons where that is built in, over either database."""
    storage = None if request.param == "sqlite" else request.getfixturevalue("migrated_postgres_url")
    async with control_node(tmp_path, control_roles.policies(two_persons=True), storage=storage) as found:
        yield found


@pytest.fixture
async def alice(node: ControlNode) -> Signer:
    return await node.key(control_roles.OFFICER, author=Author("cli:alice"))


@pytest.fixture
async def bob(node: ControlNode) -> Signer:
    return await node.key(control_roles.OFFICER, author=Author("cli:bob"))


async def key_of(node: ControlNode, environment: str = "live") -> str:
    """The address of a key as it may be changed."""
    made = await node.make_key("trader", partner="acme", environment=environment)
    return f"{V1}/keys/{made.key_id}"


@pytest.mark.parametrize(("kind", "name"), [("route", "live-orders"), ("environment", "live")])
async def test_one_person_stops_it_and_two_let_it_go_on(
    node: ControlNode, alice: Signer, bob: Signer, kind: str, name: str
) -> None:
    """At once on the node, in the list of what is frozen, and bound to the freeze that was looked at."""
    trader = await node.key("trader", environment="live")
    target = f"{V1}/{kind}s/{name}"
    problems.check(await node.ask(alice, "GET", f"{target}/freeze"), "not_found")
    frozen = await node.ask(alice, "POST", f"{target}/freeze", WHY)
    assert (frozen.status, frozen.json()["status"]) == (200, "frozen")
    assert frozen.header("portreeve-revision")
    await node.gateway.directory.load()
    problems.check(await node.ask(trader, "GET", "/live/v1/orders"), f"{kind}_frozen")
    seen = await node.ask(bob, "GET", f"{target}/freeze")
    assert (seen.json(), seen.header("etag")) == (frozen.json(), frozen.header("etag"))
    assert seen.json()["frozen_by"] == f"key:{alice.key_id}"
    assert (await node.ask(bob, "GET", f"{V1}/freezes")).json()["items"] == [frozen.json()]
    problems.check(await node.ask(bob, "POST", f"{target}/freeze", WHY), "conflict")
    tag = seen.header("etag") or ""
    problems.check(await node.ask(alice, "POST", f"{target}/unfreeze", WHY), "precondition_required")
    stale = await node.ask(alice, "POST", f"{target}/unfreeze", WHY, if_match='"r1"')
    problems.check(stale, "precondition_failed")
    refused = await node.ask(alice, "POST", f"{target}/unfreeze", WHY, if_match=tag)
    approval_id = str(problems.check(refused, "approval_needed")["approval_id"])
    agreed = await node.ask(bob, "POST", f"{V1}/approvals/{approval_id}/approve", {})
    assert agreed.status == 200, str(agreed)
    with_it = {"if_match": tag, "portreeve_approval": approval_id}
    thawed = await node.ask(alice, "POST", f"{target}/unfreeze", WHY, **with_it)
    assert (thawed.status, thawed.json()["status"]) == (200, "active")
    await node.gateway.directory.load()
    assert (await node.ask(trader, "GET", "/live/v1/orders")).code == "upstream_unreachable"
    assert (await node.ask(bob, "GET", f"{V1}/freezes")).json() == {"items": [], "next": None}


async def test_what_cannot_be_frozen_is_told(node: ControlNode, alice: Signer) -> None:
    """A misspelt name would stop nothing."""
    problems.check(await node.ask(alice, "POST", f"{V1}/routes/no-such/freeze", WHY), "not_found")
    problems.check(await node.ask(alice, "POST", f"{V1}/environments/moon/freeze", WHY), "invalid_request")
    for target in (f"{V1}/routes/no-such/unfreeze", f"{V1}/environments/live/unfreeze"):
        problems.check(await node.ask(alice, "POST", target, WHY, if_match="*"), "conflict")
    refused = await node.ask(alice, "POST", f"{V1}/environments/paper/freeze", WHY)
    problems.check(refused, "environment_mismatch")


async def test_everything_that_is_frozen_is_listed_page_by_page(node: ControlNode, alice: Signer) -> None:
    """What stops most comes first; each once, also when something is thawed between two pages."""
    paper = await node.key(control_roles.OFFICER, environment="paper")
    key = await key_of(node)
    await node.ask(alice, "POST", f"{key}/freeze", WHY, if_match="*")
    await node.ask(alice, "POST", f"{V1}/partners/borealis/freeze", WHY, if_match="*")
    await node.ask(alice, "POST", f"{V1}/routes/live-orders/freeze", WHY)
    await node.ask(paper, "POST", f"{V1}/environments/paper/freeze", WHY)
    first = (await node.ask(alice, "GET", f"{V1}/freezes?limit=2")).json()
    assert [each["kind"] for each in first["items"]] == ["environment", "route"]
    await node.store.freezes.unfreeze_route("live-orders", author=Author("test"))
    rest = (await node.ask(alice, "GET", first["next"])).json()
    assert [each["kind"] for each in rest["items"]] == ["partner", "api-key"]
    assert rest["next"] is None
    assert rest["items"][0]["name"] == "borealis"
    only = (await node.ask(alice, "GET", f"{V1}/freezes?kind=partner")).json()
    assert [each["name"] for each in only["items"]] == ["borealis"]


async def test_a_change_names_the_revision_by_which_it_is_followed(node: ControlNode, alice: Signer) -> None:
    """From the answer of a change to `1/1 nodes`, and the node that says so."""
    changed = await node.ask(alice, "PATCH", await key_of(node), {"label": "moved"}, if_match="*")
    revision = changed.header("portreeve-revision") or ""
    assert f'"r{revision}"' == changed.header("etag")
    receipt: dict[str, Any] = {}
    async with asyncio.timeout(20):
        while not receipt.get("serving") or receipt["incomplete"]:
            await asyncio.sleep(0.01)
            receipt = (await node.ask(alice, "GET", f"{V1}/revisions/{revision}")).json()
    assert (receipt["revision"], receipt["live"], receipt["everywhere"]) == (int(revision), 1, True)
    assert receipt["summary"].startswith("1/1 nodes")
    listed = (await node.ask(alice, "GET", f"{V1}/nodes")).json()
    (one,) = listed["items"]
    assert (one["state"], one["surfaces"]) == ("serving", ["edge", "control"])
    assert one["revision"] == listed["revision"] == receipt["latest"]


async def test_there_is_no_receipt_for_what_was_not_committed(node: ControlNode, alice: Signer) -> None:
    """Nor for what is no number: otherwise a typo would read as `everywhere`."""
    for revision in ("0", "999999", "01", "x", "9" * 30, "-1"):
        problems.check(await node.ask(alice, "GET", f"{V1}/revisions/{revision}"), "not_found")


async def test_what_is_absent_stays_and_null_clears(node: ControlNode, alice: Signer) -> None:
    """JSON merge: a list replaces the list, null is none of it, and the rest is as it was."""
    target = await key_of(node)
    before = await node.ask(alice, "GET", target)
    fields = {
        "permissions": ["orders:read"],
        "cidrs": ["192.0.2.0/24"],
        "expires_at": 4_000_000_000_000,
        "label": "narrow",
    }
    tag = before.header("etag") or ""
    narrowed = await node.ask(alice, "PATCH", target, {**fields, **WHY}, if_match=tag)
    assert narrowed.json() == {**before.json(), **fields}
    (entry,) = (await node.ask(alice, "GET", f"{V1}/audit?action=api_key.changed")).json()["items"]
    assert (entry["reason"], entry["details"]["after"]) == ("a test", fields)
    cleared = dict.fromkeys(fields)
    wide = await node.ask(alice, "PATCH", target, cleared, if_match=narrowed.header("etag") or "")
    assert wide.json() == {**before.json(), "label": ""}
    problems.check(await node.ask(alice, "PATCH", target, {}, if_match="*"), "conflict")
    renamed = await node.ask(alice, "PATCH", f"{V1}/partners/acme", {"tier": "metered"}, if_match="*")
    assert (renamed.json()["tier"], renamed.json()["name"]) == ("metered", "Acme")


async def test_what_cannot_be_patched_is_pointed_to(node: ControlNode, alice: Signer) -> None:
    """What makes a key another one, what only acts of their own change, and what does not exist."""
    target = await key_of(node)
    for body, pointer in REFUSED:
        refused = await node.ask(alice, "PATCH", target, body, if_match="*")
        assert problems.check(refused, "invalid_request").get("pointer", "#") == pointer, body
    for wrong in ({"name": None}, {"tier": "none-such"}, {"id": "cygnus"}):
        refused = await node.ask(alice, "PATCH", f"{V1}/partners/acme", wrong, if_match="*")
        problems.check(refused, "invalid_request")


async def test_a_patch_rests_on_what_was_seen(node: ControlNode, alice: Signer) -> None:
    """Without If-Match, or with that of an older state, nothing is changed."""
    for target, body in ((await key_of(node), {"label": "new"}), (f"{V1}/partners/acme", {"name": "New"})):
        before = await node.ask(alice, "GET", target)
        problems.check(await node.ask(alice, "PATCH", target, body), "precondition_required")
        stale = await node.ask(alice, "PATCH", target, body, if_match='"r1"')
        problems.check(stale, "precondition_failed")
        assert (await node.ask(alice, "GET", target)).json() == before.json()


async def test_nobody_widens_a_key_to_what_they_do_not_hold(node: ControlNode) -> None:
    """A partner's admin makes no officer of its own key; nor may it make an approver without a second person."""
    admin = await node.key(control_roles.ADMIN, environment="paper", author=Author("cli:carol"))
    target = f"{V1}/keys/{admin.key_id}"
    officer = {"roles": [control_roles.ADMIN, control_roles.OFFICER]}
    refused = await node.ask(admin, "PATCH", target, officer, if_match="*")
    assert str(problems.check(refused, "permission_denied")["permission"]).startswith("control:")
    trader = await node.make_key("trader", partner="acme", environment="paper")
    widened = {"roles": ["trader", control_roles.ADMIN]}
    handed = await node.ask(admin, "PATCH", f"{V1}/keys/{trader.key_id}", widened, if_match="*")
    problems.check(handed, "approval_needed")


async def test_no_place_in_a_list_breaks_a_store(node: ControlNode, alice: Signer) -> None:
    """Cursors are made by hand with what one store takes as text and the other does not."""
    for path in ("approvals", "freezes", "keys", "partners", "audit"):
        operation = "search_audit" if path == "audit" else f"list_{path}"
        for place in ("\x00", "\ud7ff", "'", "", 5, None):
            packed = json.dumps([operation, place], separators=(",", ":"), ensure_ascii=False).encode()
            cursor = base64.urlsafe_b64encode(packed).decode()
            answer = await node.ask(alice, "GET", f"{V1}/{path}?after={cursor}")
            assert answer.status in {200, 422}, str(answer)
