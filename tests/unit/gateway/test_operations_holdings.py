"""Four eyes over what the gateway holds itself: signing rings, upstream credentials, webhooks; on both databases."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.operations import EnvironmentForeign, PermissionMissing
from gateway.operations.ring_operations import RingOperations, UnknownRing
from keys import partners, webhook_records
from keys.approvals import ApprovalClosed, ChangeAltered, SubjectMoved
from keys.changes import Author
from keys.records import SecretVersion
from keys.ring import LEDGER, Ring
from keys.ring_rotation import RingRotation, RingTimes, UnknownRingKey
from keys.secret import Secret
from keys.upstream_credentials import (
    CredentialExists,
    CredentialRequest,
    NoPendingVersion,
    NotHeldHere,
    UnknownCredential,
)
from policies import control
from storage import audit
from tests.support import webhooks
from tests.support.desk import POLICIES, Desk, build_desk, needed, person, showing, under_glass

ALICE, BOB = person("alice"), person("bob")
SETUP = Author("setup")
RULES = POLICIES + "".join(
    f'[[approvals]]\naction = "{kind}.*"\n' for kind in ("ring", "upstream", "webhook")
)
URL = "https://hooks.example.com/a?key=partners-own"
PASSWORD = Secret(json.dumps({"username": "us", "password": "canary-7c1d"}))
BASIC = CredentialRequest(upstream="orders", environment="paper", form="basic", source="local", details={})


@pytest.fixture
async def ruled(engine: AsyncEngine) -> Desk:
    """With the partners acme and zephyr, and a signing key."""
    desk = build_desk(engine, RULES)
    for partner in ("acme", "zephyr"):
        await desk.room.custody.create_partner(partner, partner, "standard", author=SETUP)
    await desk.room.ring().ensure(author=SETUP)
    return desk


async def told(desk: Desk, beginning: str) -> list[audit.AuditEvent]:
    return [event for event in await desk.ledger() if event.action.startswith(beginning)]


async def states(desk: Desk) -> list[str]:
    return [each.version.state for each in await desk.ops.rings.find_all(ALICE)]


async def test_a_ring_is_rotated_by_two(ruled: Desk) -> None:
    """Each step is agreed on for itself, and the ledger names the approval."""
    need = await needed(ruled.ops.rings.step(ALICE, "announce"))
    assert (need.action, need.subject, need.change["step"]) == ("ring.rotate", "identity", "announce")
    by = showing(ALICE, await ruled.approved(need, BOB))
    (refused,) = (await ruled.ops.rings.step(by, "activate", now=True)).refused
    assert "another change" in refused
    assert (await ruled.ops.rings.step(by, "announce")).refused == ()
    assert await states(ruled) == ["active", "pending"]
    assert (await told(ruled, "ring_key.announced"))[-1].approval == need.id
    early = showing(ALICE, await ruled.approved(await needed(ruled.ops.rings.step(ALICE, "activate")), BOB))
    assert len((await ruled.ops.rings.step(early, "activate")).refused) == 1
    assert (await ruled.ops.approvals.get(ALICE, early.approval or "")).state == "approved"


async def test_a_step_is_on_the_ring_as_it_was_seen(ruled: Desk) -> None:
    """What was agreed on to sign with is not another key that somebody announced since."""
    free = build_desk(ruled.room.engine, room=ruled.room)
    await free.ops.rings.step(BOB, "announce")
    by = showing(
        ALICE, await ruled.approved(await needed(ruled.ops.rings.step(ALICE, "activate", now=True)), BOB)
    )
    pending = (await free.ops.rings.find_all(BOB))[-1].version.public_id or ""
    await free.ops.rings.revoke(BOB, pending)
    await free.ops.rings.step(BOB, "announce")
    (refused,) = (await ruled.ops.rings.step(by, "activate", now=True)).refused
    assert "another change" in refused
    assert await states(ruled) == ["active", "revoked", "pending"]


async def test_an_emergency_at_a_ring_takes_one(ruled: Desk) -> None:
    """A leaked key is taken out whoever is there; a rule about rings does not hold that up."""
    await ruled.ops.rings.step(ALICE, "rotate", now=True, reason="it leaked")
    assert await states(ruled) == ["revoked", "active"]
    glass = under_glass(ALICE)
    await ruled.ops.break_glass.open(ALICE, 60_000, reason="nobody answers")
    await ruled.ops.rings.step(glass, "announce", reason="nobody answers")
    pending = (await ruled.ops.rings.find_all(ALICE))[-1].version.public_id or ""
    await ruled.ops.rings.revoke(ALICE, pending, reason="it leaked, too")
    assert await states(ruled) == ["revoked", "active", "revoked"]


async def test_rings_are_for_operators_of_the_gateway(ruled: Desk) -> None:
    """And only those that there are."""
    for by, failure in (
        (person("p", partner="acme"), PermissionMissing),
        (person("p", without=(control.SECRETS_ROTATE,)), PermissionMissing),
        (person("p", environments=frozenset({"paper"})), EnvironmentForeign),
    ):
        with pytest.raises(failure):
            await ruled.ops.rings.step(by, "announce")
        with pytest.raises(failure):
            await ruled.ops.rings.revoke(by, "kid")
    with pytest.raises(PermissionMissing):
        await ruled.ops.rings.find_all(person("p", partner="acme"))
    with pytest.raises(UnknownRing):
        await ruled.ops.rings.step(ALICE, "announce", ("nowhere",))
    with pytest.raises(UnknownRingKey):
        await ruled.ops.rings.revoke(ALICE, "kid")


async def test_an_upstreams_credential_is_set_by_two(ruled: Desk) -> None:
    """Whose it is stands in the approval, and the secret nowhere."""
    need = await needed(ruled.ops.upstreams.create(ALICE, BASIC, PASSWORD))
    assert (need.action, need.environment, need.change["public"]) == (
        "upstream.create",
        "paper",
        {"username": "us"},
    )
    by = showing(ALICE, await ruled.approved(need, BOB))
    for other, material in (
        (BASIC, Secret(json.dumps({"username": "them", "password": "x"}))),
        (
            CredentialRequest(
                upstream="quotes", environment="paper", form="basic", source="local", details={}
            ),
            PASSWORD,
        ),
        (
            CredentialRequest(
                upstream="orders", environment="live", form="basic", source="local", details={}
            ),
            PASSWORD,
        ),
    ):
        with pytest.raises(ChangeAltered):
            await ruled.ops.upstreams.create(by, other, material)
    await ruled.ops.upstreams.create(by, BASIC, PASSWORD)
    with pytest.raises(CredentialExists):
        await ruled.ops.upstreams.create(ALICE, BASIC, PASSWORD)
    assert "canary" not in str(await ruled.ledger())
    assert (await told(ruled, "upstream_credential.set"))[0].approval == need.id


async def test_an_upstreams_credential_is_rotated_and_removed_by_two_and_revoked_by_one(ruled: Desk) -> None:
    """On the credential as it was seen."""
    free = build_desk(ruled.room.engine, room=ruled.room)
    await free.ops.upstreams.create(BOB, BASIC, PASSWORD)
    with pytest.raises(NoPendingVersion):
        await ruled.ops.upstreams.activate(ALICE, "orders")
    enter = await needed(ruled.ops.upstreams.announce(ALICE, "orders", PASSWORD))
    announced = await ruled.ops.upstreams.announce(
        showing(ALICE, await ruled.approved(enter, BOB)), "orders", PASSWORD
    )
    assert announced.versions[-1].state == "pending"
    activate = await ruled.approved(await needed(ruled.ops.upstreams.activate(ALICE, "orders")), BOB)
    remove = await ruled.approved(await needed(ruled.ops.upstreams.remove(ALICE, "orders")), BOB)
    with pytest.raises(ChangeAltered):
        await ruled.ops.upstreams.rotate(showing(ALICE, activate), "orders", PASSWORD)
    await ruled.ops.upstreams.revoke(ALICE, "orders", 2, reason="it leaked")
    with pytest.raises(SubjectMoved):
        await ruled.ops.upstreams.remove(showing(ALICE, remove), "orders")
    assert (await ruled.ops.upstreams.get(ALICE, "orders")).versions[0].state == "active"
    elsewhere = CredentialRequest(
        upstream="far",
        environment="paper",
        form="basic",
        source="aws-secrets-manager",
        details={"secret_id": "s"},
    )
    await free.ops.upstreams.create(BOB, elsewhere, None)
    with pytest.raises(NotHeldHere):
        await ruled.ops.upstreams.rotate(ALICE, "far", PASSWORD)


async def test_upstreams_are_for_operators_of_their_environment(ruled: Desk) -> None:
    """A live credential takes a live operator; a partner's sees none."""
    free = build_desk(ruled.room.engine, room=ruled.room)
    live = CredentialRequest(upstream="orders", environment="live", form="basic", source="local", details={})
    paper = person("p", environments=frozenset({"paper"}))
    with pytest.raises(EnvironmentForeign):
        await free.ops.upstreams.create(paper, live, PASSWORD)
    await free.ops.upstreams.create(BOB, live, PASSWORD)
    for by, failure in ((paper, EnvironmentForeign), (person("p", partner="acme"), PermissionMissing)):
        for operation in (
            free.ops.upstreams.rotate(by, "orders", PASSWORD),
            free.ops.upstreams.activate(by, "orders"),
            free.ops.upstreams.revoke(by, "orders"),
            free.ops.upstreams.remove(by, "orders"),
        ):
            with pytest.raises(failure):
                await operation
    with pytest.raises(PermissionMissing):
        await free.ops.upstreams.find_all(person("p", partner="acme"))
    with pytest.raises(UnknownCredential):
        await free.ops.upstreams.get(BOB, "nowhere")


async def test_a_webhook_is_made_by_two(ruled: Desk) -> None:
    """For exactly that URL, though only its origin is shown; and not for another partner."""
    need = await needed(ruled.ops.webhooks.create(ALICE, "acme", URL, ("key.revoked",)))
    assert (need.action, need.subject, need.partner) == ("webhook.create", "acme", "acme")
    assert need.change["origin"] == "https://hooks.example.com"
    by = showing(ALICE, await ruled.approved(need, BOB))
    for partner, url, events in (
        ("acme", URL + "x", ("key.revoked",)),
        ("acme", URL, ("leak.found",)),
        ("zephyr", URL, ("key.revoked",)),
    ):
        with pytest.raises(ChangeAltered):
            await ruled.ops.webhooks.create(by, partner, url, events)
    made = await ruled.ops.webhooks.create(by, "acme", URL, ("key.revoked",))
    assert (await told(ruled, "webhook.created"))[0].approval == need.id
    assert "partners-own" not in str(await ruled.ledger())
    assert (await ruled.ops.webhooks.get(ALICE, made.webhook.id)).url == URL


async def test_a_webhook_is_changed_as_it_was_seen(ruled: Desk) -> None:
    """Changed since it was asked for: ask again. An approval is for one webhook and one act."""
    first, second = [
        (await ruled.webhooks.create("acme", URL, ("key.revoked",), author=SETUP)).webhook.id
        for _ in range(2)
    ]
    ops = ruled.ops.webhooks
    remove = showing(ALICE, await ruled.approved(await needed(ops.remove(ALICE, first)), BOB))
    with pytest.raises(ChangeAltered):
        await ops.remove(remove, second)
    with pytest.raises(ChangeAltered):
        await ops.disable(remove, first)
    await ruled.webhooks.change(first, events=("leak.found",), author=SETUP)
    with pytest.raises(SubjectMoved):
        await ops.remove(remove, first)
    disable = showing(ALICE, await ruled.approved(await needed(ops.disable(ALICE, first)), BOB))
    assert (await ops.disable(disable, first)).disabled_at is not None
    with pytest.raises(ApprovalClosed):
        await ops.remove(disable, second)


async def test_nobody_is_asked_about_a_webhook_that_could_not_be(ruled: Desk) -> None:
    """A URL of ours, no partner, nothing to change, what is so already."""
    webhook = (await ruled.webhooks.create("acme", URL, ("key.revoked",), author=SETUP)).webhook.id
    ops = ruled.ops.webhooks
    cases: list[tuple[Any, type[Exception]]] = [
        (ops.create(ALICE, "acme", "https://127.0.0.1/", ("key.revoked",)), webhook_records.InvalidUrl),
        (ops.create(ALICE, "acme", URL, ("key.stolen",)), webhook_records.InvalidEvents),
        (ops.create(ALICE, "nobody", URL, ("key.revoked",)), partners.UnknownPartner),
        (ops.change(ALICE, webhook, url="http://hooks.example.com/"), webhook_records.InvalidUrl),
        (ops.change(ALICE, webhook), webhook_records.NothingToChange),
        (ops.enable(ALICE, webhook), webhook_records.WebhookNotDisabled),
        (ops.remove(ALICE, "wh_none"), webhook_records.UnknownWebhook),
        (ops.redeliver(ALICE, "msg_none"), webhook_records.UnknownDelivery),
    ]
    for operation, failure in cases:
        with pytest.raises(failure):
            await operation
    assert (await ruled.ops.approvals.find_page(ALICE)).approvals == ()


async def test_a_partners_operator_reaches_their_own_webhooks(ruled: Desk) -> None:
    """Theirs to test and to send again by one; of others' not even a delivery."""
    theirs = person("p", partner="zephyr")
    webhook = (await ruled.webhooks.create("acme", URL, ("key.revoked",), author=SETUP)).webhook.id
    own = (await ruled.webhooks.create("zephyr", URL, ("key.revoked",), author=SETUP)).webhook.id
    delivery = await webhooks.ended_delivery(ruled.room.engine, webhook, 1)
    ops = ruled.ops.webhooks
    assert [each.id for each in await ops.find_all(theirs)] == [own]
    assert [each.id for each in await ops.find_all(person("p", partner="nobody"))] == []
    assert (await ops.test(theirs, own)).id == own
    for operation in (
        ops.get(theirs, webhook),
        ops.test(theirs, webhook),
        ops.remove(theirs, webhook),
        ops.change(theirs, webhook, url=URL),
        ops.disable(theirs, webhook),
        ops.find_deliveries(theirs, webhook),
    ):
        with pytest.raises(webhook_records.UnknownWebhook):
            await operation
    for named in (None, webhook, own):
        with pytest.raises(webhook_records.UnknownDelivery):
            await ops.redeliver(theirs, delivery, webhook_id=named)
    with pytest.raises(partners.UnknownPartner):
        await ops.create(theirs, "acme", URL, ("key.revoked",))
    assert (await ops.redeliver(ALICE, delivery)).state == "waiting"


class Meddling(RingRotation):
    """Whose announcement somebody answers with one of their own, at the other ring."""

    other: RingRotation | None = None

    async def announce(self, *, ahead_ms: int = 0, author: Author) -> SecretVersion:
        made = await super().announce(ahead_ms=ahead_ms, author=author)
        if self.other is not None:
            await self.other.announce(author=SETUP)
        return made


async def two_rings(desk: Desk) -> tuple[RingOperations, Meddling, RingRotation]:
    room, times = desk.room, RingTimes(lifetime_ms=30_000)
    ledger = Ring(room.engine, room.data_keys, room.changes, room.clock, os.urandom, name=LEDGER)
    await ledger.ensure(author=SETUP)
    first, second = Meddling(room.ring(), room.changes, times), RingRotation(ledger, room.changes, times)
    rings = {first.name: first, second.name: second}
    return RingOperations(rings, room.rotations, desk.ops.gate), first, second


async def test_one_approval_is_for_a_step_of_all_rings_that_it_names(ruled: Desk) -> None:
    """It is spent by the first that takes it, and good for the rest of them; then it is used."""
    ops, _, _ = await two_rings(ruled)
    need = await needed(ops.step(ALICE, "announce"))
    assert need.subject == "identity ledger"
    by = showing(ALICE, await ruled.approved(need, BOB))
    (refused,) = (await ops.step(by, "announce", ("ledger",))).refused
    assert "another change" in refused
    assert [each.ring for each in (await ops.step(by, "announce")).taken] == ["identity", "ledger"]
    assert {event.approval for event in await told(ruled, "ring_key.announced")} == {need.id}
    assert len(await told(ruled, "approval.used")) == 1
    assert len((await ops.step(by, "announce")).refused) == 2


async def test_a_ring_that_was_moved_meanwhile_takes_no_step(ruled: Desk) -> None:
    """It was agreed on as it stood, also while the step of another ring is under way."""
    ops, first, second = await two_rings(ruled)
    by = showing(ALICE, await ruled.approved(await needed(ops.step(ALICE, "announce")), BOB))
    first.other = second
    done = await ops.step(by, "announce")
    assert [each.ring for each in done.taken] == ["identity"]
    assert "has been changed since" in done.refused[0]
