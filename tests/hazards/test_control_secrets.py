"""Secrets over the control surface: shown once, changed as they were seen, and nobody else's."""

from __future__ import annotations

import asyncio
import base64
import re
import urllib.parse
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway import operations
from keys.api_key_secrets import proof_message
from keys.records import KeyRequest
from keys.usage import Usage
from tests.support import control_roles, problems, rawhttp
from tests.support.control_node import AUTHOR, Client, ControlNode, control_node
from tests.support.signing import Signer

SECRETS = "/control/v1/secrets"
PLANNED = "/control/v1/rotations/planned"
NOBODY_KEY = "prk_paper_0000000000000000000000000000"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[ControlNode]:
    async with control_node(tmp_path, control_roles.policies()) as found:
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
async def either(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ControlNode]:
    """The same node over either database."""
    storage = None if request.param == "sqlite" else request.getfixturevalue("migrated_postgres_url")
    async with control_node(tmp_path, control_roles.policies(), storage=storage) as found:
        yield found


@pytest.fixture
async def admin(node: ControlNode) -> Signer:
    """A partner's own operator, for paper."""
    return await node.key(control_roles.ADMIN, environment="paper")


async def make(node: ControlNode, partner: str = "acme", environment: str = "paper") -> str:
    return f"{SECRETS}/{(await node.make_key('trader', partner=partner, environment=environment)).key_id}"


async def use(node: ControlNode, target: str, version: int) -> None:
    """As a node would write it that was asked just now."""
    noted = Usage()
    noted.note(target.rpartition("/")[2], version, "203.0.113.9", node.gateway.clock())
    await noted.flush(node.store.engine)


def states(shown: Any) -> list[str]:  # noqa: ANN401  JSON
    return [version["state"] for version in shown["versions"]]


def told(answer: rawhttp.Answer, *ids: str) -> tuple[int, str]:
    """All of an answer but for the ids that were asked for, and its own."""
    text = answer.body.decode().replace(answer.header("portreeve-request-id") or "", "")
    for each in ids:
        text = text.replace(each, "")
    return answer.status, text


async def test_a_partner_rotates_its_own_secret(node: ControlNode, admin: Signer) -> None:
    """The new one signs at once, the old one goes on; the ledger says who asked; it is shown this once."""
    trader = await node.key("trader", environment="paper")
    target = f"{SECRETS}/{trader.key_id}"
    made = await node.ask(admin, "POST", f"{target}/rotations", {"overlap": 60_000, "reason": "yearly"})
    assert (made.status, made.header("location"), made.header("cache-control")) == (201, target, "no-store")
    new = made.json()
    assert (new["version"], new["state"], new["secret_shown"]) == (2, "active", False)
    assert new["overlap_ends"] > node.gateway.clock()
    await node.gateway.directory.load()
    for signer in (trader, Signer(trader.key_id, "hmac-sha256", new["secret"])):
        assert (await node.ask(signer, "GET", "/edge/v1/whoami")).status == 200
    read = await node.ask(admin, "GET", target)
    assert (states(read.json()), read.header("etag")) == (["retiring", "active"], made.header("etag"))
    found = await node.ask(admin, "GET", f"/control/v1/audit?subject={trader.key_id}&action=secret.")
    (entry,) = found.json()["items"]
    assert (entry["actor"], entry["reason"]) == (f"key:{admin.key_id}", "yearly")
    listed = await node.ask(admin, "GET", f"{target}/versions")
    for answer in (read, found, listed, await node.ask(admin, "GET", SECRETS)):
        assert new["secret"] not in answer.body.decode()


async def test_a_secret_is_prepared_and_activated(node: ControlNode, admin: Signer) -> None:
    """Shown when it is made, good for nothing until its time; the overlap that was asked for then begins."""
    target = await make(node)
    prepared = await node.ask(admin, "POST", f"{target}/versions", {"overlap": 60_000})
    assert (prepared.status, prepared.json()["state"], prepared.json()["version"]) == (201, "pending", 2)
    assert prepared.json()["secret"].startswith("prs_paper_")
    wrong = await node.ask(admin, "POST", f"{target}/versions/1/activate", {}, if_match="*")
    problems.check(wrong, "conflict")
    tag = prepared.header("etag") or ""
    active = await node.ask(admin, "POST", f"{target}/versions/2/activate", {}, if_match=tag)
    assert (active.status, states(active.json())) == (200, ["retiring", "active"])
    old, new = active.json()["versions"]
    assert old["retires_at"] == new["activated_at"] + 60_000
    moment = node.gateway.clock() + 3_600_000
    later = await node.ask(
        admin, "POST", f"{target}/versions", {"activates_at": moment + 7 * 86_400_000, "overlap": 0}
    )
    assert later.json()["activates_at"] == moment + 7 * 86_400_000


async def test_copies_of_a_rotation_rotate_once(either: ControlNode) -> None:
    """One answer has the secret; the others name the same version, also once another has followed it."""
    officer = await either.key(control_roles.OFFICER, environment="paper")
    target = await make(either)
    clients = [Client(either.address) for _ in range(12)]

    async def ask(client: Client) -> rawhttp.Answer:
        return await client.ask(officer, "POST", f"{target}/rotations", {}, idempotency_key="yearly-2026")

    answers = [one.json() for one in await asyncio.gather(*(ask(client) for client in clients))]
    for client in clients:
        await client.close()
    assert {one["version"] for one in answers} == {2}
    (shown,) = [one for one in answers if one["secret"] is not None]
    assert (shown["secret_shown"], sum(one["secret_shown"] for one in answers)) == (False, 11)
    other = await either.ask(officer, "POST", f"{target}/rotations", {}, idempotency_key="lost-it-2026")
    assert other.json()["version"] == 3
    again = await ask(either.client)
    assert (again.status, again.json()["version"], again.json()["state"]) == (201, 2, "retiring")
    differing = await either.ask(
        officer, "POST", f"{target}/rotations", {"overlap": 5}, idempotency_key="yearly-2026"
    )
    problems.check(differing, "idempotency_mismatch")
    prepared = [
        await either.ask(officer, "POST", f"{target}/versions", {}, idempotency_key="next-2026")
        for _ in range(2)
    ]
    assert [one.json()["version"] for one in prepared] == [4, 4]
    assert [one.json()["secret_shown"] for one in prepared] == [False, True]


async def test_who_may_rotate_and_not_see_is_told_again_what_it_made(node: ControlNode) -> None:
    rotator = await node.key("control-secrets-rotate", environment="paper")
    target = await make(node)
    asked = [
        await node.ask(rotator, "POST", f"{target}/rotations", {}, idempotency_key="made-0001")
        for _ in range(2)
    ]
    assert asked[1].json() == {**asked[0].json(), "secret": None, "secret_shown": True}
    problems.check(await node.ask(rotator, "GET", target), "permission_denied")


async def test_a_public_key_is_brought_along(node: ControlNode, admin: Signer) -> None:
    """With a proof, if one is sent; a wrong one is pointed to, and there is nothing to show again."""
    old, new = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    asked = {"partner": "acme", "environment": "paper", "algorithm": "ed25519", "roles": ("trader",)}
    request = msgspec.convert(asked, KeyRequest)
    request = msgspec.structs.replace(request, public_key=old.public_key().public_bytes_raw())
    key_id = (await node.custody.create_key(request, author=AUTHOR)).key.id
    target, public = f"{SECRETS}/{key_id}/rotations", new.public_key().public_bytes_raw()
    assert problems.check(await node.ask(admin, "POST", target, {}), "invalid_request")
    body = {"public_key": public.hex(), "proof": old.sign(proof_message(key_id, public)).hex()}
    refused = problems.check(await node.ask(admin, "POST", target, body), "invalid_request")
    assert refused["pointer"] == "#/proof"
    body["proof"] = new.sign(proof_message(key_id, public)).hex()
    made = [await node.ask(admin, "POST", target, body, idempotency_key="new-pair-1") for _ in range(2)]
    assert [(one.json()["version"], one.json()["secret"], one.json()["secret_shown"]) for one in made] == [
        (2, None, False)
    ] * 2
    shown = (await node.ask(admin, "GET", f"{SECRETS}/{key_id}")).json()
    assert shown["versions"][1]["public_key"] == public.hex()


async def test_ending_a_version_that_is_in_use_says_who_would_break(node: ControlNode, admin: Signer) -> None:
    """By a rotation as by retiring; nothing is ended until that is said."""
    target = await make(node)
    await node.ask(admin, "POST", f"{target}/rotations", {})
    await use(node, target, 1)
    for step, body in (("versions/1/retire", {}), ("rotations", {}), ("rotations", {"overlap": 0})):
        headers = {"if_match": "*"} if step.endswith("retire") else {}
        refused = problems.check(
            await node.ask(admin, "POST", f"{target}/{step}", body, **headers), "conflict"
        )
        assert (refused["version"], refused["last_used_source"], refused["use_count"]) == (
            1,
            "203.0.113.9",
            1,
        )
        assert "acme" in str(refused["detail"])
    ended = await node.ask(admin, "POST", f"{target}/versions/1/retire", {"even_if_used": True}, if_match="*")
    assert states(ended.json()) == ["revoked", "active"]


async def test_a_step_rests_on_the_state_that_was_seen(either: ControlNode) -> None:
    """Without If-Match 428, with another state's 412; of many with the same one exactly one is done."""
    officer = await either.key(control_roles.OFFICER, environment="paper")
    target = await make(either)
    made = await either.ask(officer, "POST", f"{target}/rotations", {})
    tag, step = made.header("etag") or "", f"{target}/versions/1/revoke"
    why = {"reason": "leaked"}
    problems.check(await either.ask(officer, "POST", step, why), "precondition_required")
    problems.check(await either.ask(officer, "POST", step, why, if_match='"r1"'), "precondition_failed")
    clients = [Client(either.address) for _ in range(6)]
    answers = await asyncio.gather(
        *(client.ask(officer, "POST", step, why, if_match=tag) for client in clients)
    )
    for client in clients:
        await client.close()
    assert sorted(answer.status for answer in answers) == [200, *[412] * 5]
    problems.check(await either.ask(officer, "POST", step, why, if_match="*"), "conflict")
    active = await either.ask(officer, "POST", f"{target}/versions/2/revoke", why, if_match="*")
    problems.check(active, "conflict")


async def test_use_is_told_where_no_etag_speaks_for_it(node: ControlNode, admin: Signer) -> None:
    """A cached secret is still current when somebody has used it; who uses it is read without a cache."""
    target = await make(node)
    before = await node.ask(admin, "GET", target)
    await use(node, target, 1)
    same = await node.ask(admin, "GET", target, if_none_match=before.header("etag") or "")
    assert same.status == 304
    versions = await node.ask(admin, "GET", f"{target}/versions")
    assert versions.header("etag") is None
    assert versions.json()["items"][0]["last_used_source"] == "203.0.113.9"


async def test_a_partner_sees_and_changes_nobody_elses(node: ControlNode, admin: Signer) -> None:
    """Another partner's secrets and our own rings answer as what does not exist, wherever they are asked for."""
    theirs = await make(node, partner="borealis")
    officer = await node.key(control_roles.OFFICER)
    (ring,) = (await node.ask(officer, "GET", f"{SECRETS}?kind=ring&limit=1")).json()["items"]
    for verb, step, body in (
        ("GET", "", None),
        ("GET", "/versions", None),
        ("POST", "/rotations", {}),
        ("POST", "/versions", {}),
        ("POST", "/versions/1/activate", {}),
        ("POST", "/versions/1/retire", {}),
        ("POST", "/versions/1/revoke", {"reason": "a test"}),
    ):
        answers = []
        for secret_id in (theirs.rpartition("/")[2], ring["id"], NOBODY_KEY):
            asked = urllib.parse.quote(f"{SECRETS}/{secret_id}{step}")
            answer = await node.ask(admin, verb, asked, body, if_match='"r1"')
            problems.check(answer, "not_found")
            answers.append(told(answer, secret_id))
        assert answers[0] == answers[1] == answers[2], step
    for target in (SECRETS, f"{PLANNED}?days=366"):
        items = (await node.ask(admin, "GET", target)).json()["items"]
        assert {item["partner"] for item in items} == {"acme"}
        for partner in ("borealis", "nobody-1"):
            narrowed = await node.ask(
                admin, "GET", f"{target}{'&' if '?' in target else '?'}partner={partner}"
            )
            problems.check(narrowed, "not_found")


async def test_no_page_begins_behind_a_secret_that_is_not_theirs(node: ControlNode, admin: Signer) -> None:
    """Whether it exists is not told by a cursor that somebody made."""
    await make(node)
    theirs = (await make(node, partner="borealis")).rpartition("/")[2]
    for target in (SECRETS, f"{PLANNED}?days=366"):
        begun = await node.ask(admin, "GET", f"{target}{'&' if '?' in target else '?'}limit=1")
        page = begun.json()["next"]
        cursor = urllib.parse.unquote(re.findall("after=(.*)", page)[0])
        name, _ = msgspec.json.decode(base64.urlsafe_b64decode(cursor), type=tuple[str, str])
        answers = []
        for secret_id in (theirs, NOBODY_KEY):
            forged = base64.urlsafe_b64encode(msgspec.json.encode((name, secret_id))).decode()
            asked = page.replace(re.findall("after=(.*)", page)[0], urllib.parse.quote(forged))
            answer = await node.ask(admin, "GET", asked)
            problems.check(answer, "invalid_request")
            answers.append(told(answer))
        assert answers[0] == answers[1]


async def test_paper_and_live_stay_apart(node: ControlNode, admin: Signer) -> None:
    """A paper key reads of live secrets, and changes none; what serves both takes a live key."""
    live = await make(node, environment="live")
    assert (await node.ask(admin, "GET", live)).status == 200
    for step in ("rotations", "versions", "versions/1/activate", "versions/1/retire"):
        refused = await node.ask(admin, "POST", f"{live}/{step}", {}, if_match="*")
        problems.check(refused, "environment_mismatch")


async def test_nobody_is_shown_a_secret_that_can_more_than_theirs(node: ControlNode, admin: Signer) -> None:
    """A partner's operator does not become the officer whose key belongs to the same partner."""
    officer = await node.make_key(control_roles.OFFICER, partner="acme", environment="paper")
    for step in ("rotations", "versions"):
        refused = await node.ask(admin, "POST", f"{SECRETS}/{officer.key_id}/{step}", {})
        assert str(problems.check(refused, "permission_denied")["permission"]).startswith("control:")


async def test_a_prepared_secret_does_not_grow_with_its_key(node: ControlNode, admin: Signer) -> None:
    """Else it would serve at its moment, and whoever prepared it would be the officer that the key has become."""
    officer = await node.key(control_roles.OFFICER, environment="paper")
    target = await make(node)
    key = f"/control/v1/keys/{target.rpartition('/')[2]}"
    moment = node.gateway.clock() + 3_600_000
    assert (await node.ask(admin, "POST", f"{target}/versions", {"activates_at": moment})).status == 201
    promotion = {"roles": [control_roles.OFFICER]}
    problems.check(await node.ask(officer, "PATCH", key, promotion, if_match="*"), "conflict")
    assert (await node.ask(officer, "PATCH", key, {"label": "desk"}, if_match="*")).status == 200
    why = {"reason": "prepared by another"}
    await node.ask(officer, "POST", f"{target}/versions/2/revoke", why, if_match="*")
    assert (await node.ask(officer, "PATCH", key, promotion, if_match="*")).status == 200


async def test_what_has_steps_of_its_own_says_which(node: ControlNode) -> None:
    """An operator who reaches our rings is told what rotates them."""
    officer = await node.key(control_roles.OFFICER)
    (ring, *_) = (await node.ask(officer, "GET", f"{SECRETS}?kind=ring")).json()["items"]
    assert (ring["partner"], ring["environment"]) == (None, "service")
    asked = urllib.parse.quote(f"{SECRETS}/{ring['id']}/rotations")
    refused = problems.check(await node.ask(officer, "POST", asked, {}), "conflict")
    assert "`portreeve rings`" in str(refused["detail"])


async def test_lists_and_plans_come_in_pages(node: ControlNode, admin: Signer) -> None:
    """Each secret once, in order; of a plan all steps of a secret stand on one page."""
    targets = [await make(node) for _ in range(5)]
    for target in targets:
        await node.ask(admin, "POST", f"{target}/rotations", {})
    for begin, name in (
        (f"{SECRETS}?state=retiring&limit=2", "list"),
        (f"{PLANNED}?limit=2&days=60", "plan"),
    ):
        seen: list[list[str]] = []
        page = begin
        while page:
            answer = await node.ask(admin, "GET", page)
            seen.append([item["id"] for item in answer.json()["items"]])
            page = answer.json()["next"]
        ids = [dict.fromkeys(one) for one in seen]
        assert [len(one) for one in ids] == [2, 2, 1], name
        assert sorted(key for one in ids for key in one) == sorted(one.rpartition("/")[2] for one in targets)
    steps = (await node.ask(admin, "GET", f"{PLANNED}?days=60&limit=500")).json()["items"]
    mine = [step["step"] for step in steps if step["id"] == targets[0].rpartition("/")[2]]
    assert mine == ["retire", "destroy"]


async def test_a_second_person_is_asked_for(tmp_path: Path) -> None:
    """Where a rule says so: nothing is done, the problem names the approval, and with it the same request passes."""
    policies = control_roles.policies()
    del policies["two_persons"]
    policies["approvals"] = [{"action": "secret.rotate"}, {"action": "secret.retire"}]
    async with control_node(tmp_path, policies) as node:
        admin = await node.key(control_roles.ADMIN, environment="paper")
        target = await make(node)
        for step, headers in (
            ("rotations", {"idempotency_key": "agreed-0001"}),
            ("versions/1/retire", {"if_match": "*"}),
        ):
            asked = await node.ask(admin, "POST", f"{target}/{step}", {}, **headers)
            approval = str(problems.check(asked, "approval_needed")["approval_id"])
            ops = node.gateway.operations
            assert ops is not None
            await ops.approvals.approve(operations.of_shell("colleague"), approval)
            done = await node.ask(
                admin, "POST", f"{target}/{step}", {}, portreeve_approval=approval, **headers
            )
            assert done.status in {200, 201}, str(done)
        assert states((await node.ask(admin, "GET", target)).json()) == ["revoked", "active"]
        # An emergency waits for nobody.
        await node.store.rotations.rotate(target.rpartition("/")[2], author=AUTHOR)
        why = {"reason": "leaked"}
        revoked = await node.ask(admin, "POST", f"{target}/versions/2/revoke", why, if_match="*")
        assert states(revoked.json()) == ["revoked", "revoked", "active"]


@pytest.mark.parametrize(
    ("step", "body", "pointer"),
    [
        ("rotations", {"overlap": -1}, "#/overlap"),
        ("rotations", {"overlap": 365 * 86_400_000}, "#/overlap"),
        ("rotations", {"public_key": "00" * 32}, "#"),
        ("rotations", {"colour": "red"}, "#"),
        ("versions", {"activates_at": 5}, "#/activates_at"),
    ],
)
async def test_what_does_not_fit_is_pointed_to(
    node: ControlNode, admin: Signer, step: str, body: dict[str, Any], pointer: str
) -> None:
    refused = await node.ask(admin, "POST", f"{await make(node)}/{step}", body)
    assert str(problems.check(refused, "invalid_request").get("pointer", "#")).startswith(pointer)


async def test_versions_that_are_none(node: ControlNode, admin: Signer) -> None:
    target = await make(node)
    for number in ("0", "9", "01", "x", "9" * 30):
        asked = await node.ask(admin, "POST", f"{target}/versions/{number}/retire", {}, if_match="*")
        problems.check(asked, "not_found")
