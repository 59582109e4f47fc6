"""Webhooks over the control surface: a partner's own, and nothing of anybody else's, not even that it is there."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.parse
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from policies import control
from tests.support import control_roles, problems, rawhttp, webhooks
from tests.support.control_node import Client, ControlNode, control_node
from tests.support.signing import Signer

HOOKS = "/control/v1/webhooks"
URL = "https://hooks.example.com/portreeve?key=partners-own"
WANTED = {"partner": "acme", "url": URL, "events": ["key.revoked"]}
WHY = {"reason": "a test"}
QUIET: dict[str, Any] = {"webhooks": {"deliver": False}}


@pytest.fixture(params=["sqlite", "postgresql"])
async def node(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ControlNode]:
    """Over either database; nothing is sent anywhere."""
    storage = None if request.param == "sqlite" else request.getfixturevalue("migrated_postgres_url")
    async with control_node(tmp_path, control_roles.policies(), storage=storage, changes=QUIET) as found:
        yield found


@pytest.fixture
async def admin(node: ControlNode) -> Signer:
    return await node.key(control_roles.ADMIN)


async def make(node: ControlNode, by: Signer, **asked: Any) -> dict[str, Any]:  # noqa: ANN401  of the body
    made = await node.ask(by, "POST", HOOKS, WANTED | asked)
    assert made.status == 201, str(made)
    webhook: dict[str, Any] = made.json()["webhook"]
    return webhook


async def test_the_life_of_a_webhook(node: ControlNode, admin: Signer) -> None:
    """Made, changed, disabled, enabled, tested and removed by a partner's own operator; each act is in the ledger."""
    made = await node.ask(admin, "POST", HOOKS, WANTED | {"reason": "for our desk"})
    assert made.status == 201, str(made)
    webhook = made.json()["webhook"]
    place = f"{HOOKS}/{webhook['id']}"
    assert (made.header("location"), made.json()["secret"][:6]) == (place, "whsec_")
    shown = await node.ask(admin, "GET", place)
    assert (shown.json(), shown.header("etag")) == (webhook, made.header("etag"))
    changed = await node.ask(
        admin, "PATCH", place, {"events": ["leak.found"]}, if_match=shown.header("etag") or ""
    )
    assert (changed.status, changed.json()["events"], changed.json()["url"]) == (200, ["leak.found"], URL)
    late = await node.ask(
        admin, "PATCH", place, {"events": ["key.frozen"]}, if_match=shown.header("etag") or ""
    )
    problems.check(late, "precondition_failed")
    problems.check(await node.ask(admin, "POST", f"{place}/enable", WHY, if_match="*"), "conflict")
    disabled = await node.ask(admin, "POST", f"{place}/disable", WHY, if_match="*")
    assert disabled.json()["disabled_reason"] == "a test"
    assert (await node.ask(admin, "POST", f"{place}/enable", WHY, if_match="*")).json()["disabled_at"] is None
    assert (await node.ask(admin, "POST", f"{place}/test", WHY)).status == 200
    problems.check(await node.ask(admin, "DELETE", place), "precondition_required")
    removed = await node.ask(admin, "DELETE", place, if_match="*")
    assert (removed.status, removed.json()["id"]) == (200, webhook["id"])
    problems.check(await node.ask(admin, "GET", place), "not_found")
    told = (await node.ask(admin, "GET", f"/control/v1/audit?subject={webhook['id']}")).json()["items"]
    acts = ["created", "changed", "disabled", "enabled", "test", "removed"]
    assert [entry["action"] for entry in told[::-1]] == [f"webhook.{act}" for act in acts]
    assert {entry["actor"] for entry in told} == {f"key:{admin.key_id}"}
    assert "partners-own" not in json.dumps(told)
    assert made.json()["secret"] not in json.dumps(told) + shown.body.decode() + removed.body.decode()


async def test_a_create_repeated_makes_one_and_shows_its_secret_once(
    node: ControlNode, admin: Signer
) -> None:
    """However many copies arrive at once; another request under the same name is refused."""

    async def ask() -> rawhttp.Answer:
        client = Client(node.address)
        try:
            return await client.ask(admin, "POST", HOOKS, WANTED, idempotency_key="webhook-2026")
        finally:
            await client.close()

    answers = [answer.json() for answer in await asyncio.gather(*(ask() for _ in range(5)))]
    assert len({answer["webhook"]["id"] for answer in answers}) == 1
    assert sorted(answer["secret"] is not None for answer in answers) == [False] * 4 + [True]
    assert [answer["secret_shown"] for answer in answers] == [answer["secret"] is None for answer in answers]
    other = WANTED | {"url": "https://hooks.example.com/other"}
    refused = await node.ask(admin, "POST", HOOKS, other, idempotency_key="webhook-2026")
    problems.check(refused, "idempotency_mismatch")


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.7/hook",
        "https://hooks@example.com/",
        "ftp://hooks.example.com/",
    ],
)
async def test_an_address_of_ours_is_no_address_of_theirs(node: ControlNode, admin: Signer, url: str) -> None:
    """Neither when it is made nor when it is changed; the refusal points to the URL and repeats none of it."""
    webhook = await make(node, admin)
    for answer in (
        await node.ask(admin, "POST", HOOKS, WANTED | {"url": url}),
        await node.ask(admin, "PATCH", f"{HOOKS}/{webhook['id']}", {"url": url}, if_match="*"),
    ):
        problems.check(answer, "invalid_request")
        assert answer.json()["pointer"] == "#/url"
        assert url not in answer.body.decode()
    assert (await node.ask(admin, "GET", f"{HOOKS}/{webhook['id']}")).json() == webhook


async def test_what_is_another_partners_is_not_there(node: ControlNode, admin: Signer) -> None:
    """Their webhooks, their deliveries, by any verb: answered as what does not exist, and left as it was."""
    theirs = (await webhooks.replaced(node.store.webhooks, "borealis", "theirs")).webhook.id
    ours = (await make(node, admin))["id"]
    delivery = await webhooks.ended_delivery(node.store.engine, theirs, 1)
    nothing = "wh_000000000000000000000000"
    for method, suffix, body in (
        ("GET", "", None),
        ("PATCH", "", {"events": ["leak.found"]}),
        ("DELETE", "", None),
        ("POST", "/disable", WHY),
        ("POST", "/enable", WHY),
        ("POST", "/test", WHY),
        ("GET", "/deliveries", None),
    ):
        told = []
        for webhook_id in (theirs, nothing):
            answer = await node.ask(admin, method, f"{HOOKS}/{webhook_id}{suffix}", body, if_match="*")
            problems.check(answer, "not_found")
            told.append(answer.json()["detail"].replace(webhook_id, ""))
        assert told[0] == told[1], suffix
    for webhook_id in (theirs, ours):
        again = f"{HOOKS}/{webhook_id}/deliveries/{delivery}/redeliver"
        problems.check(await node.ask(admin, "POST", again, WHY), "not_found")
    problems.check(await node.ask(admin, "POST", HOOKS, WANTED | {"partner": "borealis"}), "not_found")
    problems.check(await node.ask(admin, "GET", f"{HOOKS}?partner=borealis"), "not_found")
    listed = (await node.ask(admin, "GET", HOOKS)).json()["items"]
    assert [each["id"] for each in listed] == [ours]
    officer = await node.key(control_roles.OFFICER)
    assert (await node.ask(officer, "GET", f"{HOOKS}/{theirs}")).json()["disabled_at"] is None
    assert (await node.ask(officer, "GET", f"{HOOKS}/{theirs}/deliveries")).json()["items"][0][
        "state"
    ] == "given-up"


async def test_a_paper_key_looks_and_changes_nothing(node: ControlNode, admin: Signer) -> None:
    """A webhook tells of both environments."""
    webhook = await make(node, admin)
    paper = await node.key(control_roles.ADMIN, environment="paper")
    assert (await node.ask(paper, "GET", f"{HOOKS}/{webhook['id']}")).status == 200
    problems.check(await node.ask(paper, "POST", HOOKS, WANTED), "environment_mismatch")
    removed = await node.ask(paper, "DELETE", f"{HOOKS}/{webhook['id']}", if_match="*")
    problems.check(removed, "environment_mismatch")


async def test_deliveries_are_paged_and_sent_again(node: ControlNode, admin: Signer) -> None:
    """Newest first, each with what became of it; one that has ended can be put in line once."""
    place = f"{HOOKS}/{(await make(node, admin))['id']}"
    made = [
        await webhooks.ended_delivery(node.store.engine, place.rpartition("/")[2], number)
        for number in range(1, 6)
    ]
    first = (await node.ask(admin, "GET", f"{place}/deliveries?limit=3")).json()
    rest = (await node.ask(admin, "GET", first["next"])).json()
    assert [each["id"] for each in (*first["items"], *rest["items"])] == made[::-1]
    assert rest["next"] is None
    assert (first["items"][0]["state"], first["items"][0]["last_failure"]) == ("given-up", "status 503")
    again = await node.ask(admin, "POST", f"{place}/deliveries/{made[0]}/redeliver", WHY)
    assert (again.status, again.json()["state"], again.json()["attempts"]) == (200, "waiting", 0)
    twice = await node.ask(admin, "POST", f"{place}/deliveries/{made[0]}/redeliver", WHY)
    problems.check(twice, "conflict")


async def test_a_cursor_that_was_made_by_hand_breaks_nothing(node: ControlNode, admin: Signer) -> None:
    """It is refused, or nothing lies behind it: whatever list counts by numbers."""
    place = f"{HOOKS}/{(await make(node, admin))['id']}/deliveries"
    for position in ("-1", "0", "9223372036854775808", "9" * 30):
        for name, target in (("list_deliveries", place), ("search_audit", "/control/v1/audit")):
            cursor = base64.urlsafe_b64encode(f'["{name}",{position}]'.encode()).decode()
            answer = await node.ask(admin, "GET", f"{target}?after={urllib.parse.quote(cursor)}")
            if position == "0":
                assert answer.json()["items"] == []
            else:
                problems.check(answer, "invalid_request")


async def test_a_webhook_can_be_changed_only_by_two(tmp_path: Path) -> None:
    """Where a rule says so: the approval is for that URL, and for the webhook as it was."""
    policies = control_roles.policies()
    del policies["two_persons"]
    policies["approvals"] = [{"action": "webhook.*"}]
    async with control_node(tmp_path, policies, changes=QUIET) as node:
        admin = await node.key(control_roles.ADMIN)
        created = await webhooks.replaced(node.store.webhooks, "acme", "ours")
        place, another = f"{HOOKS}/{created.webhook.id}", {"url": "https://hooks.example.com/other"}
        asked = await node.ask(admin, "PATCH", place, another, if_match="*")
        problems.check(asked, "approval_needed")
        approval = asked.json()["approval_id"]
        await node.store.approvals.approve(approval, author=webhooks.OPERATOR)
        shown = await node.store.approvals.get(approval)
        assert shown.change["origin"] == "https://hooks.example.com"
        assert "other" not in json.dumps(shown.change)
        evil = {"url": "https://hooks.example.com/evil"}
        for body in (evil, another | {"events": ["leak.found"]}):
            refused = await node.ask(admin, "PATCH", place, body, if_match="*", portreeve_approval=approval)
            problems.check(refused, "conflict")
        done = await node.ask(admin, "PATCH", place, another, if_match="*", portreeve_approval=approval)
        assert (done.status, done.json()["url"]) == (200, another["url"])
        for method, suffix in (("DELETE", ""), ("POST", "/disable")):
            why = WHY if method == "POST" else None
            waiting = await node.ask(admin, method, place + suffix, why, if_match="*")
            problems.check(waiting, "approval_needed")
        problems.check(await node.ask(admin, "POST", HOOKS, WANTED), "approval_needed")


async def test_its_secret_takes_the_permission_to_change_it(node: ControlNode, admin: Signer) -> None:
    """Whoever is shown it could speak to the partner in our name: to rotate secrets is not enough."""
    place = f"/control/v1/secrets/{(await make(node, admin))['id']}"
    rotator = await node.key("control-secrets-rotate", "control-secrets-read")
    for step, body in (
        ("rotations", {}),
        ("versions", {}),
        ("versions/1/activate", {}),
        ("versions/1/retire", {}),
        ("versions/1/revoke", WHY),
    ):
        refused = await node.ask(rotator, "POST", f"{place}/{step}", body, if_match="*")
        assert problems.check(refused, "permission_denied")["permission"] == control.WEBHOOKS_WRITE
    rotated = await node.ask(admin, "POST", f"{place}/rotations", {})
    assert (rotated.status, rotated.json()["secret"][:6]) == (201, "whsec_")
    stranger = await node.key(control_roles.ADMIN, partner="borealis")
    refused = await node.ask(stranger, "POST", f"{place}/rotations", {})
    problems.check(refused, "not_found")


async def test_it_is_removed_with_a_reason(node: ControlNode, admin: Signer) -> None:
    """Which a DELETE can only say in its query: else nobody could remove one under break-glass."""
    place = f"{HOOKS}/{(await make(node, admin))['id']}"
    officer = await node.key(control_roles.OFFICER)
    opened = await node.ask(officer, "POST", "/control/v1/break-glass", WHY)
    glass = {"if_match": "*", "portreeve_break_glass": opened.json()["id"]}
    problems.check(await node.ask(officer, "DELETE", place, **glass), "invalid_request")
    removed = await node.ask(officer, "DELETE", f"{place}?reason=it%20answers%20to%20strangers", **glass)
    assert removed.status == 200, str(removed)
    (entry,) = (await node.ask(officer, "GET", "/control/v1/audit?action=webhook.removed")).json()["items"]
    assert (entry["reason"], entry["approval"]) == (
        "it answers to strangers",
        f"break-glass:{opened.json()['id']}",
    )
