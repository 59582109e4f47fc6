"""The secrets of webhooks are rotated like all others: shown once, both sign while they overlap, and warned of."""

import pytest
import sqlalchemy as sa
import standardwebhooks

from gateway import clocks
from gateway.webhooks import signing
from keys import envelope, kinds, rotation, scheduler
from keys.kinds import Offer
from keys.rotations import Wish
from keys.schedules import DAY_MS
from keys.secret import Secret
from keys.webhook_records import CreatedWebhook
from keys.webhook_rotation import PublicKeyNeedless
from keys.webhooks import Webhooks
from storage import engine, schema
from tests.support.custody import START_MS, Room
from tests.support.rotated import events
from tests.support.webhooks import OPERATOR, URL, build


@pytest.fixture
def webhooks(room: Room) -> Webhooks:
    return build(room)


@pytest.fixture
async def created(webhooks: Webhooks) -> CreatedWebhook:
    return await webhooks.create("acme", URL, ("key.revoked",), author=OPERATOR)


async def verified(webhooks: Webhooks, webhook_id: str, secret: Secret) -> bool:
    """As a partner's own library sees a message of ours, with this secret alone."""
    body, now_ms = b'{"type":"webhook.test"}', clocks.wall_ms()
    headers = signing.sign(await webhooks.open_signing_keys(webhook_id), "msg_1", now_ms, body)
    try:
        standardwebhooks.Webhook(secret.reveal()).verify(body, dict(headers))
    except standardwebhooks.WebhookVerificationError:
        return False
    return True


async def turn(room: Room) -> list[tuple[str, str | None]]:
    outcomes = await scheduler.run_due((room.rotations,), author=scheduler.AUTHOR)
    return [(one.action.step, one.failure) for one in outcomes]


async def rotate(room: Room, webhook_id: str, wish: Wish | None = None) -> Secret:
    rotated = await room.rotations.rotate(webhook_id, wish or Wish(), author=OPERATOR)
    assert rotated.shown is not None
    return rotated.shown


async def test_both_secrets_verify_until_the_old_one_ends(
    room: Room, webhooks: Webhooks, created: CreatedWebhook
) -> None:
    """So a receiver changes whenever it suits; after the overlap, only the new one does."""
    webhook_id = created.webhook.id
    assert await verified(webhooks, webhook_id, created.secret)
    shown = await rotate(room, webhook_id)
    for secret in (created.secret, shown):
        assert await verified(webhooks, webhook_id, secret)
    room.clock.now_ms += 7 * DAY_MS
    assert await turn(room) == [("retire", None)]
    assert await verified(webhooks, webhook_id, shown)
    assert not await verified(webhooks, webhook_id, created.secret)
    room.clock.now_ms += 30 * DAY_MS
    assert await turn(room) == [("destroy", None)]


async def test_there_are_two_signatures_and_no_more(
    room: Room, webhooks: Webhooks, created: CreatedWebhook
) -> None:
    """A further rotation ends the oldest; one that is prepared signs nothing before its moment."""
    webhook_id = created.webhook.id
    await rotate(room, webhook_id)
    await rotate(room, webhook_id)
    assert len(await webhooks.open_signing_keys(webhook_id)) == 2
    assert not await verified(webhooks, webhook_id, created.secret)
    at = START_MS + 20 * DAY_MS
    prepared = await rotate(room, webhook_id, Wish(activates_at=at))
    assert not await verified(webhooks, webhook_id, prepared)
    room.clock.now_ms = at
    assert ("activate", None) in await turn(room)
    assert await verified(webhooks, webhook_id, prepared)


async def test_an_old_secret_is_warned_of_and_never_rotated_by_itself(
    room: Room, created: CreatedWebhook
) -> None:
    """Nobody would be given the new one: its partner is told, once for each threshold."""
    for days in (166, 177, 179):
        room.clock.now_ms = START_MS + days * DAY_MS
        assert await turn(room) == [("warn", None)]
        assert await turn(room) == []
    room.clock.now_ms += 365 * DAY_MS
    assert await turn(room) == []
    told = [event for event in await events(room) if event["action"] == "secret.expiring"]
    assert [(event["subject"], event["partner"]) for event in told] == [(created.webhook.id, "acme")] * 3
    assert told[0]["details"]["kind"] == "webhook"


async def test_a_webhook_is_not_left_without_a_secret(
    room: Room, webhooks: Webhooks, created: CreatedWebhook
) -> None:
    """Whoever means that removes it; then its secrets are revoked, and destroyed in their time."""
    webhook_id = created.webhook.id
    with pytest.raises(kinds.NotEndedHere):
        await room.rotations.revoke(webhook_id, author=OPERATOR)
    assert await verified(webhooks, webhook_id, created.secret)
    await webhooks.remove(webhook_id, author=OPERATOR)
    with pytest.raises(rotation.StepRefused):
        await rotate(room, webhook_id)
    room.clock.now_ms += 30 * DAY_MS
    assert await turn(room) == [("destroy", None)]
    assert [each.state for each in (await room.rotations.get(webhook_id)).versions] == ["destroyed"]


async def test_a_public_key_is_nothing_to_a_webhook(room: Room, created: CreatedWebhook) -> None:
    """It is refused by its name, and nothing is made."""
    with pytest.raises(PublicKeyNeedless):
        await room.rotations.rotate(created.webhook.id, Wish(), Offer(public_key=bytes(32)), author=OPERATOR)
    assert len((await room.rotations.get(created.webhook.id)).versions) == 1


async def test_a_rotated_secret_is_sealed_for_its_version(
    room: Room, webhooks: Webhooks, created: CreatedWebhook
) -> None:
    """Moved to another number it opens nothing."""
    await rotate(room, created.webhook.id)
    table = schema.secret_versions
    async with engine.transaction(room.engine) as conn:
        await conn.execute(
            sa.update(table)
            .where(table.c.secret_id == created.webhook.id)
            .values(version=table.c.version + 10)
        )
    with pytest.raises(envelope.EnvelopeRefused):
        await webhooks.open_signing_keys(created.webhook.id)
