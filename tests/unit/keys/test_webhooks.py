import base64
import os

import pytest
import sqlalchemy as sa

from keys import envelope, partners, register, webhook_secrets
from keys.changes import Author
from keys.secret import Secret, SecretBytes
from keys.webhook_records import (
    EVENTS,
    MOST_PER_PARTNER,
    CreatedWebhook,
    DeliveryStillWaiting,
    InvalidEvents,
    InvalidUrl,
    NothingToChange,
    TooManyWebhooks,
    UnknownDelivery,
    UnknownWebhook,
    WebhookAlreadyDisabled,
    WebhookNotDisabled,
)
from keys.webhooks import CONSUMER, NoSigningSecret, Webhooks
from storage import audit, consumers, engine, schema
from tests.support.custody import Room
from tests.support.webhooks import OPERATOR, URL, build

VERSIONS = schema.secret_versions
ENTROPY = bytes(range(32))


@pytest.fixture
def webhooks(room: Room) -> Webhooks:
    return build(room)


@pytest.fixture
async def created(webhooks: Webhooks) -> CreatedWebhook:
    return await webhooks.create("acme", URL, ("key.revoked", "key.frozen"), author=OPERATOR)


async def ledger(room: Room) -> list[audit.AuditEvent]:
    async with engine.reading(room.engine) as conn:
        return [entry.event for entry in await audit.tail(conn, 100)]


async def add_version(room: Room, webhook_id: str, version: int, state: str) -> Secret:
    """As a rotation leaves it."""
    secret = webhook_secrets.mint_webhook_secret(os.urandom(32))
    data_key = await room.data_keys.get_current("service")
    sealed = webhook_secrets.seal(
        data_key.key, secret, webhook_id=webhook_id, version=version, nonce=os.urandom(12)
    )
    async with room.changes.begin(OPERATOR) as change:
        await change.conn.execute(
            sa.insert(VERSIONS).values(
                secret_id=webhook_id,
                version=version,
                state=state,
                ciphertext=sealed,
                data_key_id=data_key.id,
                created_at=change.at,
                use_count=0,
            )
        )
        await register.stamp(change, webhook_id)
        await change.record("test.version", webhook_id)
    return secret


def signing_bytes(secret: Secret) -> bytes:
    return base64.b64decode(secret.reveal().removeprefix("whsec_"))


def test_a_secret_has_the_form_that_libraries_read() -> None:
    """`whsec_` and base64: what is behind the prefix is what signs."""
    secret = webhook_secrets.mint_webhook_secret(ENTROPY)
    assert secret.reveal() == "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert webhook_secrets.parse_signing_key(secret).reveal() == ENTROPY
    with pytest.raises(ValueError, match="32 bytes"):
        webhook_secrets.mint_webhook_secret(b"short")


@pytest.mark.parametrize(
    "text",
    ["", "whsec_", "whsec_AAAA", "whsec_" + "!" * 44, "prs_x", base64.b64encode(ENTROPY).decode()],
)
def test_a_text_that_is_no_secret_is_refused(text: str) -> None:
    """And nothing of it is in the refusal."""
    with pytest.raises(webhook_secrets.MalformedWebhookSecret) as caught:
        webhook_secrets.parse_signing_key(Secret(text))
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize(("webhook_id", "version"), [("wh_b", 1), ("wh_a", 2)])
def test_a_secret_opens_only_for_its_own_webhook_and_version(webhook_id: str, version: int) -> None:
    """A row that was copied to another webhook is of no use there."""
    data_key = SecretBytes(os.urandom(32))
    secret = webhook_secrets.mint_webhook_secret(ENTROPY)
    sealed = webhook_secrets.seal(data_key, secret, webhook_id="wh_a", version=1, nonce=os.urandom(12))
    opened = webhook_secrets.open_(data_key, sealed, webhook_id="wh_a", version=1)
    assert opened.reveal() == secret.reveal()
    with pytest.raises(envelope.EnvelopeRefused):
        webhook_secrets.open_(data_key, sealed, webhook_id=webhook_id, version=version)


async def test_a_webhook_is_created_with_a_secret_that_is_sealed(
    room: Room, webhooks: Webhooks, created: CreatedWebhook
) -> None:
    """It is in the register of all secrets, and stands nowhere as it was shown."""
    assert await webhooks.get(created.webhook.id) == created.webhook
    assert created.webhook.events == ("key.frozen", "key.revoked")
    async with engine.reading(room.engine) as conn:
        entered = (await conn.execute(sa.select(schema.secrets))).mappings().one()
        version = (await conn.execute(sa.select(VERSIONS))).mappings().one()
    assert (entered["kind"], entered["environment"], entered["partner_id"]) == ("webhook", "service", "acme")
    assert (version["state"], version["version"]) == ("active", 1)
    assert signing_bytes(created.secret) not in version["ciphertext"]
    (key,) = await webhooks.open_signing_keys(created.webhook.id)
    assert key.reveal() == signing_bytes(created.secret)


async def test_the_ledger_tells_the_origin_and_no_more(
    room: Room, webhooks: Webhooks, created: CreatedWebhook
) -> None:
    """Neither the secret nor what a partner put into the path or query of its URL."""
    await webhooks.change(
        created.webhook.id, url="https://other.acme.example:8443/hidden?also=hidden", author=OPERATOR
    )
    made, changed = [event for event in await ledger(room) if event.subject == created.webhook.id]
    assert (made.action, made.partner, made.details["origin"]) == (
        "webhook.created",
        "acme",
        "https://hooks.acme.example",
    )
    assert changed.details == {
        "before": {"origin": "https://hooks.acme.example"},
        "after": {"origin": "https://other.acme.example:8443"},
    }
    text = repr(await ledger(room)) + repr(created.webhook) + repr(created)
    for hidden in ("partners-own-secret", "hidden", created.secret.reveal()):
        assert hidden not in text


async def test_the_first_webhook_gives_the_ledgers_reader_its_place(room: Room, webhooks: Webhooks) -> None:
    """So nothing that happens after it is missed, whether or not a node runs yet, and nothing old is told."""
    async with engine.reading(room.engine) as conn:
        assert await consumers.find(conn, CONSUMER) is None
        before = (await audit.head(conn))[0]
    await webhooks.create("acme", URL, EVENTS, author=OPERATOR)
    await webhooks.create("acme", URL, EVENTS, author=OPERATOR)
    async with engine.reading(room.engine) as conn:
        place = await consumers.find(conn, CONSUMER)
        # The data key of the first secret was made in between.
        assert place == before + 1


async def test_only_a_partner_there_is_gets_one_and_not_without_end(room: Room, webhooks: Webhooks) -> None:
    """An unknown partner is refused; so is one webhook too many."""
    with pytest.raises(partners.UnknownPartner):
        await webhooks.create("nobody", URL, EVENTS, author=OPERATOR)
    made = [await webhooks.create("acme", URL, EVENTS, author=OPERATOR) for _ in range(MOST_PER_PARTNER)]
    with pytest.raises(TooManyWebhooks):
        await webhooks.create("acme", URL, EVENTS, author=OPERATOR)
    await webhooks.remove(made[0].webhook.id, author=OPERATOR)
    await webhooks.create("acme", URL, EVENTS, author=OPERATOR)


@pytest.mark.parametrize("events", [(), ("key.stolen",), ("webhook.test",)])
async def test_unknown_events_are_refused(webhooks: Webhooks, events: tuple[str, ...]) -> None:
    """The message names those there are."""
    with pytest.raises(InvalidEvents, match=r"leak\.found"):
        await webhooks.create("acme", URL, events, author=OPERATOR)


async def test_a_url_is_examined_whenever_it_is_given(webhooks: Webhooks, created: CreatedWebhook) -> None:
    """At creation and at every change, and the message shows nothing of it."""
    for bad in ("http://hooks.acme.example/sesame", "https://10.0.0.1/sesame"):
        with pytest.raises(InvalidUrl) as at_creation:
            await webhooks.create("acme", bad, EVENTS, author=OPERATOR)
        with pytest.raises(InvalidUrl) as at_change:
            await webhooks.change(created.webhook.id, url=bad, author=OPERATOR)
        assert "sesame" not in f"{at_creation.value}{at_change.value}"
    assert (await webhooks.get(created.webhook.id)).url == URL


async def test_a_change_of_nothing_is_refused(webhooks: Webhooks, created: CreatedWebhook) -> None:
    """It would be an entry in the ledger that says nothing."""
    with pytest.raises(NothingToChange):
        await webhooks.change(created.webhook.id, author=OPERATOR)


async def test_events_change_without_the_url(webhooks: Webhooks, created: CreatedWebhook) -> None:
    """What is not given stays."""
    changed = await webhooks.change(created.webhook.id, events=("leak.found",), author=OPERATOR)
    assert (changed.url, changed.events) == (URL, ("leak.found",))


async def test_a_webhook_is_disabled_and_enabled(
    room: Room, webhooks: Webhooks, created: CreatedWebhook
) -> None:
    """Each once, with its reason, and each audited."""
    author = Author("operator", "too loud")
    disabled = await webhooks.disable(created.webhook.id, author=author)
    assert (disabled.disabled_at, disabled.disabled_reason) == (room.clock.now_ms, "too loud")
    with pytest.raises(WebhookAlreadyDisabled):
        await webhooks.disable(created.webhook.id, author=author)
    assert (await webhooks.enable(created.webhook.id, author=OPERATOR)).disabled_at is None
    with pytest.raises(WebhookNotDisabled):
        await webhooks.enable(created.webhook.id, author=OPERATOR)
    actions = [event.action for event in await ledger(room)]
    assert actions[-2:] == ["webhook.disabled", "webhook.enabled"]


async def test_a_removed_webhook_is_unknown_and_its_secret_revoked(
    room: Room, webhooks: Webhooks, created: CreatedWebhook
) -> None:
    """Nothing can be done with it any more, and nothing is signed by it."""
    webhook_id = created.webhook.id
    await webhooks.remove(webhook_id, author=OPERATOR)
    for act in (webhooks.enable, webhooks.disable, webhooks.test, webhooks.remove):
        with pytest.raises(UnknownWebhook):
            await act(webhook_id, author=OPERATOR)
    with pytest.raises(NoSigningSecret):
        await webhooks.open_signing_keys(webhook_id)
    assert await webhooks.list() == ()
    assert (await ledger(room))[-1].action == "webhook.removed"


async def test_partners_see_their_own_webhooks(room: Room, webhooks: Webhooks) -> None:
    """Listing by partner shows no other's."""
    await room.custody.create_partner("zephyr", "Zephyr", "standard", author=OPERATOR)
    acme = await webhooks.create("acme", URL, EVENTS, author=OPERATOR)
    room.clock.now_ms += 1
    zephyr = await webhooks.create("zephyr", URL, EVENTS, author=OPERATOR)
    assert await webhooks.list("acme") == (acme.webhook,)
    assert await webhooks.list() == (acme.webhook, zephyr.webhook)


async def test_every_version_that_may_sign_signs_and_no_other(
    room: Room, webhooks: Webhooks, created: CreatedWebhook
) -> None:
    """In a rotation the new and the old one, the new one first; not one that waits, nor one that is revoked."""
    webhook_id = created.webhook.id
    async with engine.transaction(room.engine) as conn:
        await conn.execute(sa.update(VERSIONS).values(state="retiring"))
    await add_version(room, webhook_id, 2, "revoked")
    newest = await add_version(room, webhook_id, 3, "active")
    await add_version(room, webhook_id, 4, "pending")
    keys = await webhooks.open_signing_keys(webhook_id)
    assert [key.reveal() for key in keys] == [signing_bytes(newest), signing_bytes(created.secret)]


async def test_a_version_of_another_webhook_does_not_open(
    room: Room, webhooks: Webhooks, created: CreatedWebhook
) -> None:
    """Whoever can write rows cannot make one partner's secret sign for another."""
    other = await webhooks.create("acme", URL, EVENTS, author=OPERATOR)
    async with engine.transaction(room.engine) as conn:
        mine = sa.select(VERSIONS.c.ciphertext).where(VERSIONS.c.secret_id == created.webhook.id)
        stolen = await conn.scalar(mine)
        theirs = sa.update(VERSIONS).where(VERSIONS.c.secret_id == other.webhook.id)
        await conn.execute(theirs.values(ciphertext=stolen))
    with pytest.raises(envelope.EnvelopeRefused):
        await webhooks.open_signing_keys(other.webhook.id)


async def test_only_a_delivery_that_ended_is_put_in_line_again(webhooks: Webhooks) -> None:
    """One that nobody knows is refused by name."""
    with pytest.raises(UnknownDelivery):
        await webhooks.redeliver("msg_none", author=OPERATOR)
    assert str(DeliveryStillWaiting("msg_a")).startswith("delivery msg_a is waiting")
