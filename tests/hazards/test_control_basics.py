"""The control surface over a socket: signed requests, conditions, pages, and what it never tells."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from storage import schema
from tests.support import control_roles, problems
from tests.support.control_node import Client, ControlNode, control_node
from tests.support.signing import Signer

KEYS = "/control/v1/keys"
WANTED = {"partner": "acme", "environment": "live", "algorithm": "hmac-sha256", "roles": ["trader"]}
WHY = {"reason": "a test"}


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
async def officer(node: ControlNode) -> Signer:
    return await node.key(control_roles.OFFICER)


async def test_a_key_is_made_seen_frozen_and_revoked(node: ControlNode, officer: Signer) -> None:
    """The life of a key, as an operator leads it."""
    made = await node.ask(officer, "POST", KEYS, WANTED)
    assert made.status == 201, str(made)
    key = made.json()["key"]
    assert made.json()["secret"].startswith("prs_live_")
    assert made.header("location") == f"{KEYS}/{key['id']}"
    assert made.header("cache-control") == "no-store"
    read = await node.ask(officer, "GET", f"{KEYS}/{key['id']}")
    assert (read.json(), read.header("etag")) == (key, made.header("etag"))
    frozen = await node.ask(
        officer, "POST", f"{KEYS}/{key['id']}/freeze", WHY, if_match=read.header("etag") or ""
    )
    assert (frozen.status, frozen.json()["frozen_reason"]) == (200, "a test")
    assert frozen.header("etag") != read.header("etag")
    revoked = await node.ask(officer, "POST", f"{KEYS}/{key['id']}/revoke", WHY, if_match="*")
    assert revoked.json()["versions"][0]["state"] == "revoked"
    again = await node.ask(officer, "POST", f"{KEYS}/{key['id']}/freeze", WHY, if_match="*")
    problems.check(again, "conflict")


async def test_the_ledger_tells_who_it_was_and_by_which_request(node: ControlNode, officer: Signer) -> None:
    made = await node.ask(officer, "POST", KEYS, {**WANTED, "reason": "a new router"})
    found = await node.ask(officer, "GET", f"/control/v1/audit?subject={made.json()['key']['id']}")
    (entry,) = found.json()["items"]
    assert entry["actor"] == f"key:{officer.key_id}"
    assert (entry["action"], entry["reason"]) == ("api_key.created", "a new router")
    assert entry["request_id"] == made.header("portreeve-request-id")
    assert entry["source"] == "127.0.0.1"
    one = await node.ask(officer, "GET", f"/control/v1/audit/{entry['seq']}")
    assert one.json() == entry
    assert made.json()["secret"] not in found.body.decode()


async def test_a_change_has_to_name_the_state_that_it_rests_on(node: ControlNode, officer: Signer) -> None:
    """Without If-Match 428, with another state's 412, and nothing is done."""
    made = await node.ask(officer, "POST", KEYS, WANTED)
    target, tag = f"{made.header('location')}/freeze", made.header("etag") or ""
    problems.check(await node.ask(officer, "POST", target, WHY), "precondition_required")
    for stale in ('"r1"', f"W/{tag}", '"something-else"', '"r1", "r2"'):
        problems.check(await node.ask(officer, "POST", target, WHY, if_match=stale), "precondition_failed")
    problems.check(await node.ask(officer, "POST", target, WHY, if_match="r1"), "invalid_request")
    assert (await node.ask(officer, "POST", target, WHY, if_match=f'"r1", {tag}')).status == 200


async def test_of_two_changers_at_once_exactly_one_wins(either: ControlNode) -> None:
    """Both read the same state; whoever comes second is told so, whichever database decides."""
    officer = await either.key(control_roles.OFFICER)
    clients = [Client(either.address) for _ in range(8)]
    for _ in range(3):
        made = await either.ask(officer, "POST", KEYS, WANTED)
        target, tag = f"{made.header('location')}/freeze", made.header("etag") or ""
        answers = await asyncio.gather(
            *(client.ask(officer, "POST", target, WHY, if_match=tag) for client in clients)
        )
        assert sorted(answer.status for answer in answers) == [200, *[412] * 7]
    for client in clients:
        await client.close()


async def test_fifty_copies_of_a_create_make_one_key(either: ControlNode) -> None:
    """One answer has the secret; the others name the same key and show none."""
    officer = await either.key(control_roles.OFFICER)
    clients = [Client(either.address) for _ in range(50)]
    answers = await asyncio.gather(
        *(client.ask(officer, "POST", KEYS, WANTED, idempotency_key="order-router-1") for client in clients)
    )
    assert {answer.status for answer in answers} == {201}, {str(answer) for answer in answers}
    assert len({answer.json()["key"]["id"] for answer in answers}) == 1
    shown = [answer.json() for answer in answers if answer.json()["secret"] is not None]
    assert [each["secret_shown"] for each in shown] == [False]
    assert sum(answer.json()["secret_shown"] for answer in answers) == 49
    async with either.store.engine.connect() as conn:
        labels = sa.select(sa.func.count()).select_from(schema.api_keys)
        assert (await conn.execute(labels)).scalar_one() == 2
        kept = (await conn.execute(sa.select(schema.settled_requests))).mappings().all()
    assert len(kept) == 1
    assert shown[0]["secret"] not in repr(kept)
    for client in clients:
        await client.close()


async def test_an_idempotency_key_is_for_one_request_of_one_caller(
    node: ControlNode, officer: Signer
) -> None:
    other = await node.key(control_roles.OFFICER)
    first = await node.ask(officer, "POST", KEYS, WANTED, idempotency_key="mine-0001")
    differing = {**WANTED, "label": "another"}
    refused = await node.ask(officer, "POST", KEYS, differing, idempotency_key="mine-0001")
    problems.check(refused, "idempotency_mismatch")
    theirs = await node.ask(other, "POST", KEYS, WANTED, idempotency_key="mine-0001")
    assert theirs.json()["secret"] is not None
    assert theirs.json()["key"]["id"] != first.json()["key"]["id"]
    malformed = await node.ask(officer, "POST", KEYS, WANTED, idempotency_key="short")
    problems.check(malformed, "invalid_request")


async def test_who_may_make_and_not_see_is_told_again_what_it_made(node: ControlNode) -> None:
    """Repeating a create shows no more than the create did, so it takes no other permission."""
    maker = await node.key("control-keys-write")
    made = await node.ask(maker, "POST", KEYS, WANTED, idempotency_key="made-0001")
    again = await node.ask(maker, "POST", KEYS, WANTED, idempotency_key="made-0001")
    assert again.json() == {**made.json(), "secret": None, "secret_shown": True}
    assert (await node.ask(maker, "GET", made.header("location") or "")).code == "permission_denied"


async def test_a_create_that_was_refused_may_be_tried_again(node: ControlNode, officer: Signer) -> None:
    """Only what was done is settled."""
    partner = {"id": "cygnus", "name": "Cygnus", "tier": "none-such"}
    refused = await node.ask(officer, "POST", "/control/v1/partners", partner, idempotency_key="cygnus-01")
    assert problems.check(refused, "invalid_request")["pointer"] == "#/tier"
    partner["tier"] = "standard"
    made = await node.ask(officer, "POST", "/control/v1/partners", partner, idempotency_key="cygnus-01")
    again = await node.ask(officer, "POST", "/control/v1/partners", partner, idempotency_key="cygnus-01")
    assert (made.status, again.status, made.json()) == (201, 201, again.json())
    problems.check(await node.ask(officer, "POST", "/control/v1/partners", partner), "conflict")


async def test_what_is_known_is_not_sent_again(node: ControlNode, officer: Signer) -> None:
    read = await node.ask(officer, "GET", "/control/v1/partners/acme")
    tag = read.header("etag") or ""
    for known in (tag, f"W/{tag}", "*", f'"r0", {tag}'):
        same = await node.ask(officer, "GET", "/control/v1/partners/acme", if_none_match=known)
        assert (same.status, same.body, same.header("etag")) == (304, b"", tag)
    frozen = await node.ask(officer, "POST", "/control/v1/partners/acme/freeze", WHY, if_match=tag)
    assert frozen.json()["frozen_reason"] == "a test"


async def test_pages_follow_one_another_to_the_end(node: ControlNode, officer: Signer) -> None:
    """Each entry once, in order, by the addresses that the answers name."""
    for _ in range(6):
        await node.make_key("trader", partner="borealis", environment="paper")
    for target, count in (
        (f"{KEYS}?partner=borealis&limit=4", 6),
        ("/control/v1/partners/borealis/keys?limit=5", 6),
        ("/control/v1/partners?limit=1", 2),
    ):
        seen, page = [], target
        while page:
            answer = await node.ask(officer, "GET", page)
            seen += [item["id"] for item in answer.json()["items"]]
            page = answer.json()["next"]
            link = answer.header("link")
            assert link == (f'<{page}>; rel="next"' if page else None)
        assert len(seen) == len(set(seen)) == count, target


async def test_a_cursor_of_another_list_or_of_nobody_is_refused(node: ControlNode, officer: Signer) -> None:
    page = (await node.ask(officer, "GET", f"{KEYS}?limit=1")).json()["next"]
    assert page is None
    await node.make_key("trader", partner="acme", environment="paper")
    cursor = re.findall("after=(.*)", (await node.ask(officer, "GET", f"{KEYS}?limit=1")).json()["next"])[0]
    for target in (
        f"/control/v1/partners?after={cursor}",
        f"{KEYS}?after=x",
        f"{KEYS}?after=",
        f"{KEYS}?after={cursor}A",
    ):
        refused = problems.check(await node.ask(officer, "GET", target), "invalid_request")
        assert refused["parameter"] == "after"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({**WANTED, "roles": ["trader", 5]}, "#/roles/1"),
        ({**WANTED, "colour": "red"}, "#"),
        ({**WANTED, "roles": ["none-such"]}, "#/roles"),
        ({**WANTED, "permissions": ["orders:none"]}, "#/permissions"),
        ({**WANTED, "cidrs": ["everywhere"]}, "#/cidrs"),
        ({**WANTED, "expires_at": 5}, "#/expires_at"),
        ({**WANTED, "public_key": "00" * 32}, "#/public_key"),
        ({**WANTED, "environment": "moon"}, "#/environment"),
        ({"partner": "acme"}, "#"),
        ([], "#"),
        (b"{", "#"),
        (b'{"partner":"\xff"}', "#"),
        (b"[" * 5000, "#"),
    ],
)
async def test_what_does_not_fit_is_pointed_to(
    node: ControlNode,
    officer: Signer,
    body: Any,  # noqa: ANN401  whatever is sent
    pointer: str,
) -> None:
    refused = problems.check(await node.ask(officer, "POST", KEYS, body), "invalid_request")
    assert refused.get("pointer", "#") == pointer


async def test_other_ways_to_be_wrong_have_their_own_answers(node: ControlNode, officer: Signer) -> None:
    problems.check(
        await node.ask(officer, "POST", KEYS, b"{}", content_type="text/plain"), "unsupported_media_type"
    )
    problems.check(await node.ask(officer, "DELETE", KEYS), "method_not_allowed")
    assert (await node.ask(officer, "DELETE", KEYS)).header("allow") == "GET, POST"
    for unknown in (
        "/control/v1/nothing",
        "/control/v1/",
        "/control/v1",
        "/control/v1/keys/",
        "/control/v2/keys",
    ):
        problems.check(await node.ask(officer, "GET", unknown), "no_route")
    for query in ("?limit=0", "?limit=x", "?limit=1&limit=2", "?colour=red", "?limit", "?partner=%FF"):
        problems.check(await node.ask(officer, "GET", KEYS + query), "invalid_request")
    problems.check(await node.ask(officer, "GET", f"{KEYS}/prk_none"), "not_found")
    problems.check(await node.ask(officer, "GET", "/control/v1/audit/0"), "not_found")
    problems.check(await node.ask(officer, "GET", "/control/v1/audit/999999"), "not_found")
    problems.check(await node.ask(officer, "GET", "/control/v1/audit/x"), "not_found")
    problems.check(await node.ask(officer, "POST", KEYS, b" " * 70_000), "body_too_large")


async def test_a_body_in_which_nothing_is_required_may_be_left_out(
    node: ControlNode, officer: Signer
) -> None:
    """Where something is, it may not; and what is sent has to say what it is."""
    key = await node.make_key("viewer", partner="acme", environment="live")
    target = f"/control/v1/secrets/{key.key_id}/rotations"
    rotated = await node.ask(officer, "POST", target)
    assert (rotated.status, rotated.json()["version"]) == (201, 2)
    unsaid = await node.ask(officer, "POST", target, b"{}", content_type="text/plain")
    problems.check(unsaid, "unsupported_media_type")
    refused = await node.ask(officer, "POST", f"{KEYS}/{key.key_id}/freeze", if_match="*")
    problems.check(refused, "unsupported_media_type")


async def test_a_refusal_names_an_id_as_it_is(node: ControlNode, officer: Signer) -> None:
    """It can be copied: a sentence begins with a capital, an id does not get one."""
    refused = await node.ask(officer, "POST", "/control/v1/break-glass", WHY)
    glass = refused.json()["id"]
    again = problems.check(await node.ask(officer, "POST", "/control/v1/break-glass", WHY), "conflict")
    assert str(again["detail"]).startswith(f"{glass} of yours is open")
    sentence = problems.check(await node.ask(officer, "GET", f"{KEYS}/nobody"), "not_found")
    assert str(sentence["detail"])[0].isupper()
