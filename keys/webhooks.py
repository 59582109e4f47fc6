"""Webhooks: where partners want to be told, of what, and the secrets that prove to them that we tell it.

Invariant: every change is atomic and audited (see `changes`), with the origin of the URL and no more of it. A secret
is shown once, by the call that made it, and is stored only sealed. What is told of is what the ledger says from the
first webhook on: its creation gives the ledger's reader its place. Refuses: a URL that `examine` refuses, unknown
events, and what the webhook's present state does not allow; a removed webhook is unknown.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keys import partners, register, rotation, versions, webhook_deliveries, webhook_secrets
from keys.changes import SYSTEM, Author, Change, Changes, Clock
from keys.data_keys import DataKeys
from keys.kinds import Draft
from keys.records import SecretVersion
from keys.secret import SecretBytes
from keys.webhook_records import (
    MOST_PER_PARTNER,
    CreatedWebhook,
    Delivery,
    DeliveryStillWaiting,
    NothingToChange,
    TooManyWebhooks,
    UnknownWebhook,
    Webhook,
    WebhookAlreadyDisabled,
    WebhookNotDisabled,
    check_events,
)
from keys.webhook_rotation import WebhookSecrets
from storage import consumers, engine, schema

# The ledger's reader that turns entries into deliveries.
CONSUMER: Final = "webhooks"

_TABLE: Final = schema.webhooks
_VERSIONS: Final = schema.secret_versions
_FIRST_VERSION: Final = 1
_ID_ENTROPY: Final = 12
_REMOVED: Final = "removed"
_GONE: Final = "the target says that it is gone"
_UNREACHABLE: Final = "deliveries in a row were given up"
# Those that a partner has or may still have: the newest signs first.
_SIGNING: Final = ("active", "retiring")
_COLUMNS: Final = (
    _TABLE.c.partner_id.label("partner"),
    *(_TABLE.c[name] for name in Webhook.__struct_fields__ if name != "partner"),
)

# Raises `InvalidUrl`, or answers with the URL's origin: all of it that may be told to others.
Examine = Callable[[str], str]


class NoSigningSecret(Exception):
    """The webhook has no version that may sign."""


class Webhooks:
    def __init__(  # noqa: PLR0913  where they lie, who seals, what a URL may be, and sources of time and chance
        self,
        engine_: AsyncEngine,
        data_keys: DataKeys,
        changes: Changes,
        clock: Clock,
        entropy: Callable[[int], bytes],
        *,
        examine: Examine,
    ) -> None:
        self._engine = engine_
        self._data_keys = data_keys
        self._secrets = WebhookSecrets(data_keys, entropy)
        self._changes = changes
        self._clock = clock
        self._entropy = entropy
        self._examine = examine

    @property
    def examine(self) -> Examine:
        return self._examine

    async def create(
        self, partner: str, url: str, events: tuple[str, ...], *, author: Author
    ) -> CreatedWebhook:
        origin, subscribed = self._examine(url), check_events(events)
        webhook_id = f"wh_{self._entropy(_ID_ENTROPY).hex()}"
        secret, draft = await self._secrets.mint(webhook_id)
        async with self._changes.begin(author) as change:
            await partners.get(change.conn, partner)
            await _require_room(change.conn, partner)
            await consumers.register(change.conn, CONSUMER, change.at)
            await _enter_secret(change, webhook_id, partner, origin, draft)
            await change.conn.execute(
                sa.insert(_TABLE).values(
                    id=webhook_id,
                    partner_id=partner,
                    url=url,
                    events=list(subscribed),
                    created_at=change.at,
                    revision=change.revision,
                )
            )
            details = {"origin": origin, "events": list(subscribed), "version": _FIRST_VERSION}
            await change.record("webhook.created", webhook_id, partner=partner, details=details)
            webhook = await _get(change.conn, webhook_id)
        return CreatedWebhook(webhook=webhook, version=_FIRST_VERSION, secret=secret)

    async def list(self, partner: str | None = None) -> tuple[Webhook, ...]:
        """Oldest first."""
        query = sa.select(*_COLUMNS).where(_TABLE.c.removed_at.is_(None))
        if partner is not None:
            query = query.where(_TABLE.c.partner_id == partner)
        async with engine.reading(self._engine) as conn:
            rows = (await conn.execute(query.order_by(_TABLE.c.created_at, _TABLE.c.id))).mappings()
            return tuple(_from_row(row) for row in rows)

    async def get(self, webhook_id: str) -> Webhook:
        async with engine.reading(self._engine) as conn:
            return await _get(conn, webhook_id)

    async def change(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: tuple[str, ...] | None = None,
        author: Author,
    ) -> Webhook:
        if url is None and events is None:
            raise NothingToChange("neither another URL nor other events are given")
        values: dict[str, Any] = {}
        details: dict[str, Any] = {}
        if url is not None:
            values["url"], details["origin"] = url, self._examine(url)
        if events is not None:
            values["events"] = details["events"] = sorted(check_events(events))
        async with self._changes.begin(author) as change:
            webhook = await _get(change.conn, webhook_id)
            await _update(change, webhook_id, **values)
            before = {"origin": self._find_origin(webhook.url), "events": [*webhook.events]}
            changed = {"before": {name: before[name] for name in details}, "after": details}
            return await _recorded(change, "webhook.changed", webhook_id, changed)

    async def disable(self, webhook_id: str, *, author: Author) -> Webhook:
        async with self._changes.begin(author) as change:
            if (await _get(change.conn, webhook_id)).disabled_at is not None:
                raise WebhookAlreadyDisabled(webhook_id)
            await _update(change, webhook_id, disabled_at=change.at, disabled_reason=author.reason)
            return await _recorded(change, "webhook.disabled", webhook_id)

    async def enable(self, webhook_id: str, *, author: Author) -> Webhook:
        """What was still waiting goes on at once; what happened meanwhile was never put in line."""
        async with self._changes.begin(author) as change:
            if (await _get(change.conn, webhook_id)).disabled_at is None:
                raise WebhookNotDisabled(webhook_id)
            await _update(change, webhook_id, disabled_at=None, disabled_reason=None)
            return await _recorded(change, "webhook.enabled", webhook_id)

    async def remove(self, webhook_id: str, *, author: Author) -> Webhook:
        """As it was, at the revision that removed it."""
        async with self._changes.begin(author) as change:
            webhook = await _get(change.conn, webhook_id)
            await _update(change, webhook_id, removed_at=change.at)
            held = await versions.read(change.conn, webhook_id)
            await versions.follow(change, webhook_id, held, rotation.revoke_all(held, change.at))
            await webhook_deliveries.give_up_all(change.conn, webhook_id, _REMOVED, change.at)
            await change.record("webhook.removed", webhook_id, partner=webhook.partner)
        return msgspec.structs.replace(webhook, revision=change.revision)

    async def test(self, webhook_id: str, *, author: Author) -> Webhook:
        """The entry in the ledger is what makes the delivery, as with every other event."""
        async with self._changes.begin(author) as change:
            await _get(change.conn, webhook_id)
            return await _recorded(change, "webhook.test", webhook_id)

    async def list_deliveries(
        self, webhook_id: str, limit: int = 20, *, before: int | None = None
    ) -> tuple[Delivery, ...]:
        """The newest first; `before` is the number of the last one that was seen."""
        async with engine.reading(self._engine) as conn:
            await _get(conn, webhook_id)
            return tuple(await webhook_deliveries.list_newest(conn, webhook_id, limit, before))

    async def get_delivery(self, delivery_id: str) -> Delivery:
        async with engine.reading(self._engine) as conn:
            return await webhook_deliveries.get(conn, delivery_id)

    async def redeliver(self, delivery_id: str, *, author: Author) -> Delivery:
        """As if it had never been tried; its id stays, so the partner can tell that it is the same."""
        async with self._changes.begin(author) as change:
            delivery = await webhook_deliveries.get(change.conn, delivery_id)
            webhook = await _get(change.conn, delivery.webhook)
            if delivery.state == "waiting":
                raise DeliveryStillWaiting(delivery_id)
            await webhook_deliveries.begin_again(change.conn, delivery, change.at)
            details = {"delivery": delivery.id, "event": delivery.event, "seq": delivery.seq}
            await change.record("webhook.redelivered", webhook.id, partner=webhook.partner, details=details)
            return await webhook_deliveries.get(change.conn, delivery_id)

    async def give_up(
        self,
        due: webhook_deliveries.Due,
        *,
        status: int | None,
        failure: str,
        is_gone: bool,
        disable_after: int,
    ) -> None:
        """Ends a delivery, and disables a webhook that is gone or where one after the other was given up."""
        async with self._changes.begin(SYSTEM) as change:
            conn, attempt = change.conn, due.attempts + 1
            ended = await webhook_deliveries.set_given_up(
                conn, due.id, attempt, status=status, failure=failure, now_ms=change.at
            )
            if not ended:
                change.abandon()
                return
            details = {"delivery": due.id, "event": due.event, "attempts": attempt, "failure": failure}
            await change.record("webhook.given_up", due.webhook, partner=due.partner, details=details)
            if is_gone:
                await _disable_unattended(change, due.webhook, _GONE)
            elif await webhook_deliveries.has_failed_in_a_row(conn, due.webhook, disable_after):
                await _disable_unattended(change, due.webhook, _UNREACHABLE)

    async def open_signing_keys(self, webhook_id: str) -> tuple[SecretBytes, ...]:
        """The newest first: what is signed has a signature by each, until an old version is retired."""
        query = (
            sa.select(_VERSIONS.c.version, _VERSIONS.c.ciphertext, _VERSIONS.c.data_key_id)
            .where(_VERSIONS.c.secret_id == webhook_id, _VERSIONS.c.state.in_(_SIGNING))
            .order_by(_VERSIONS.c.version.desc())
        )
        async with engine.reading(self._engine) as conn:
            rows = (await conn.execute(query)).all()
        if not rows:
            raise NoSigningSecret(f"webhook {webhook_id} has no secret that may sign")
        opened = []
        for version, ciphertext, data_key_id in rows:
            data_key = await self._data_keys.get(data_key_id)
            secret = webhook_secrets.open_(data_key, ciphertext, webhook_id=webhook_id, version=version)
            opened.append(webhook_secrets.parse_signing_key(secret))
        return tuple(opened)

    def _find_origin(self, url: str) -> str | None:
        """Of a URL that was stored under rules that may have changed since."""
        try:
            return self._examine(url)
        except ValueError:
            return None


async def _enter_secret(change: Change, webhook_id: str, partner: str, label: str, draft: Draft) -> None:
    await register.enter(
        change, webhook_id, kind="webhook", environment=webhook_secrets.DOMAIN, partner=partner, label=label
    )
    first = SecretVersion(
        version=_FIRST_VERSION, state="active", created_at=change.at, activated_at=change.at
    )
    await versions.insert(change, webhook_id, first, draft.seal(_FIRST_VERSION))


async def find_revision(conn: AsyncConnection, webhook_id: str) -> int | None:
    query = sa.select(_TABLE.c.revision).where(_TABLE.c.id == webhook_id, _TABLE.c.removed_at.is_(None))
    found: int | None = (await conn.execute(query)).scalar_one_or_none()
    return found


async def _require_room(conn: AsyncConnection, partner: str) -> None:
    living = sa.and_(_TABLE.c.partner_id == partner, _TABLE.c.removed_at.is_(None))
    count = await conn.scalar(sa.select(sa.func.count()).select_from(_TABLE).where(living))
    if (count or 0) >= MOST_PER_PARTNER:
        raise TooManyWebhooks(partner)


async def _get(conn: AsyncConnection, webhook_id: str) -> Webhook:
    living = sa.and_(_TABLE.c.id == webhook_id, _TABLE.c.removed_at.is_(None))
    row = (await conn.execute(sa.select(*_COLUMNS).where(living))).mappings().first()
    if row is None:
        raise UnknownWebhook(webhook_id)
    return _from_row(row)


def _from_row(row: sa.RowMapping) -> Webhook:
    fields: dict[str, Any] = dict(row)
    fields["events"] = tuple(fields["events"])
    return Webhook(**fields)


async def _update(change: Change, webhook_id: str, **values: object) -> None:
    await change.conn.execute(
        sa.update(_TABLE).where(_TABLE.c.id == webhook_id).values(revision=change.revision, **values)
    )
    await register.stamp(change, webhook_id)


async def _disable_unattended(change: Change, webhook_id: str, why: str) -> None:
    """Somebody may have disabled or removed it in between."""
    still = sa.and_(_TABLE.c.id == webhook_id, _TABLE.c.removed_at.is_(None), _TABLE.c.disabled_at.is_(None))
    if (await change.conn.execute(sa.select(_TABLE.c.id).where(still))).first() is not None:
        await _update(change, webhook_id, disabled_at=change.at, disabled_reason=why)
        await _recorded(change, "webhook.disabled", webhook_id, {"why": why})


async def _recorded(
    change: Change, action: str, webhook_id: str, details: dict[str, Any] | None = None
) -> Webhook:
    webhook = await _get(change.conn, webhook_id)
    await change.record(action, webhook_id, partner=webhook.partner, details=details)
    return webhook
