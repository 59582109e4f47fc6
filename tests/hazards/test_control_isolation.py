"""What a partner's own operator learns of anybody else through the control surface: nothing."""

from __future__ import annotations

import base64
import re
import urllib.parse
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keys.changes import Author
from storage import chain
from tests.support import control_roles, problems, rawhttp
from tests.support.control_node import ControlNode, control_node
from tests.support.signing import Signer

KEYS = "/control/v1/keys"
NOBODY_KEY = "prk_paper_0000000000000000000000000000"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[ControlNode]:
    async with control_node(tmp_path, control_roles.policies()) as found:
        yield found


@pytest.fixture
async def admin(node: ControlNode) -> Signer:
    return await node.key(control_roles.ADMIN, environment="paper")


@pytest.fixture
async def theirs(node: ControlNode) -> Signer:
    return await node.key("trader", partner="borealis", environment="paper")


def told(answer: rawhttp.Answer, *ids: str) -> tuple[int, str]:
    """All of an answer but for the ids that were asked for, and its own."""
    text = answer.body.decode().replace(answer.header("portreeve-request-id") or "", "")
    for each in ids:
        text = text.replace(each, "")
    return answer.status, text


async def test_neither_a_filter_nor_a_body_tells_whether_a_partner_exists(
    node: ControlNode, admin: Signer
) -> None:
    wanted = {"environment": "paper", "algorithm": "hmac-sha256", "roles": ["trader"]}
    for method, target in (
        ("GET", f"{KEYS}?partner="),
        ("GET", "/control/v1/audit?partner="),
        ("POST", KEYS),
    ):
        answers = []
        for partner in ("borealis", "nobody-1"):
            body = None if method == "GET" else {**wanted, "partner": partner}
            path = target + partner if method == "GET" else target
            answers.append(told(await node.ask(admin, method, path, body), partner))
        assert answers[0] == answers[1], target
        assert answers[0][0] == 404


async def test_no_page_begins_behind_a_key_that_is_not_theirs(
    node: ControlNode, admin: Signer, theirs: Signer
) -> None:
    """A cursor is a place in the list, and a place at another's key would tell that it is there."""
    await node.make_key("trader", partner="acme", environment="paper")
    page = (await node.ask(admin, "GET", f"{KEYS}?limit=1")).json()["next"]
    cursor = re.findall("after=(.*)", page)[0]
    answers = []
    for key_id in (theirs.key_id, NOBODY_KEY):
        forged = await node.ask(admin, "GET", f"{KEYS}?after={forge(cursor, admin.key_id, key_id)}")
        problems.check(forged, "invalid_request")
        answers.append(told(forged))
    assert answers[0] == answers[1]


def forge(cursor: str, key_id: str, other: str) -> str:
    packed = base64.urlsafe_b64decode(urllib.parse.unquote(cursor)).decode()
    assert key_id in packed
    return urllib.parse.quote(base64.urlsafe_b64encode(packed.replace(key_id, other).encode()))


async def test_the_ledger_shows_a_partner_its_own_part_and_nobody_elses_name(
    node: ControlNode, admin: Signer, theirs: Signer
) -> None:
    """That an operator froze the key is the partner's to know; which operator, from where, is not."""
    officer = await node.key(control_roles.OFFICER, partner="borealis", environment="paper")
    own = await node.make_key("trader", partner="acme", environment="paper")
    another = await node.make_key("trader", partner="acme", environment="paper")
    for signer, key in ((officer, own), (admin, another)):
        target = f"{KEYS}/{key.key_id}/freeze"
        changed = await node.ask(signer, "POST", target, {"reason": "a test"}, if_match="*")
        assert changed.status == 200, str(changed)
    found = await node.ask(admin, "GET", "/control/v1/audit?limit=500")
    entries = found.json()["items"]
    assert {entry["partner"] for entry in entries} == {"acme"}
    assert officer.key_id not in found.body.decode()
    assert theirs.key_id not in found.body.decode()
    by_admin, frozen = entries[0], entries[1]
    assert (by_admin["actor"], by_admin["source"]) == (f"key:{admin.key_id}", "127.0.0.1")
    assert (frozen["actor"], frozen["source"], frozen["request_id"]) == ("operator", None, None)
    one = await node.ask(admin, "GET", f"/control/v1/audit/{frozen['seq']}")
    assert one.json() == frozen
    by_name = await node.ask(admin, "GET", f"/control/v1/audit?actor=key:{officer.key_id}")
    assert by_name.json()["items"] == []
    in_full = await node.ask(officer, "GET", f"/control/v1/audit/{frozen['seq']}")
    assert in_full.json()["actor"] == f"key:{officer.key_id}"


async def test_no_hash_betrays_what_is_left_out_of_an_entry(node: ControlNode, admin: Signer) -> None:
    """With all else of an entry in hand, its hash tells whether a guess at the operator's name is right."""
    own = await node.make_key("trader", partner="acme", environment="paper")
    await node.custody.freeze_key(own.key_id, author=Author("cli:root", "a test"))
    officer = await node.key(control_roles.OFFICER, partner="borealis", environment="paper")
    target = f"/control/v1/audit?subject={own.key_id}&action=api_key.frozen"
    (whole,) = (await node.ask(officer, "GET", target)).json()["items"]
    guessed = {name: value for name, value in whole.items() if name != "hash"}
    assert chain.link(guessed) == whole["hash"], "this is how it would be found out"
    (shown,) = (await node.ask(admin, "GET", target)).json()["items"]
    assert (shown["actor"], shown["previous"], shown["hash"]) == ("operator", None, None)
    listed = (await node.ask(admin, "GET", "/control/v1/audit?limit=500")).json()["items"]
    assert {(entry["previous"], entry["hash"]) for entry in listed} == {(None, None)}


async def test_nobody_hands_out_what_they_do_not_hold(node: ControlNode, admin: Signer) -> None:
    """A partner's admin can make an admin like itself, and no officer."""
    wanted = {"partner": "acme", "environment": "paper", "algorithm": "hmac-sha256"}
    refused = await node.ask(admin, "POST", KEYS, {**wanted, "roles": [control_roles.OFFICER]})
    assert str(problems.check(refused, "permission_denied")["permission"]).startswith("control:")
    assert (await node.ask(admin, "POST", KEYS, {**wanted, "roles": [control_roles.ADMIN]})).status == 201


async def test_a_paper_key_changes_only_paper_things(node: ControlNode, admin: Signer) -> None:
    wanted = {"partner": "acme", "algorithm": "hmac-sha256", "roles": ["trader"]}
    live = await node.make_key("trader", partner="acme", environment="live")
    problems.check(
        await node.ask(admin, "POST", KEYS, {**wanted, "environment": "live"}), "environment_mismatch"
    )
    for target in (f"{KEYS}/{live.key_id}/freeze", "/control/v1/partners/acme/freeze"):
        refused = await node.ask(admin, "POST", target, {"reason": "a test"}, if_match="*")
        problems.check(refused, "environment_mismatch")
