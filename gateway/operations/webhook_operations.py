"""What can be done with webhooks, the same for the command line and the control surface.

Invariant: an operator sees and changes their own partner's webhooks and deliveries, unless they reach all; of others'
not even the ids are known. A webhook tells of both environments, so changing one takes a credential for live. An
approval is for exactly that URL, of which nobody is shown more than the origin. To test a webhook and to send again
what was sent before change nothing of it, and take one person.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from gateway.operations.gate import Gate, Standing
from gateway.operations.operator import Operator
from keys.changes import Author
from keys.custody import Custody
from keys.webhook_records import (
    CreatedWebhook,
    Delivery,
    NothingToChange,
    UnknownDelivery,
    UnknownWebhook,
    Webhook,
    WebhookAlreadyDisabled,
    WebhookNotDisabled,
    check_events,
)
from keys.webhooks import Webhooks
from policies import control

_BOTH: Final = "service"
_LABEL: Final = b"portreeve/webhook-url/1\n"


class WebhookOperations:
    def __init__(self, webhooks: Webhooks, custody: Custody, gate: Gate) -> None:
        self._webhooks = webhooks
        self._custody = custody
        self._gate = gate

    async def find_all(self, by: Operator, *, partner: str | None = None) -> list[Webhook]:
        by.require(control.WEBHOOKS_READ)
        if partner is not None:
            by.require_reach(partner)
        return [each for each in await self._webhooks.list(partner) if by.reaches(each.partner)]

    async def get(self, by: Operator, webhook_id: str) -> Webhook:
        by.require(control.WEBHOOKS_READ)
        return await self._get_reached(by, webhook_id)

    async def create(
        self, by: Operator, partner: str, url: str, events: tuple[str, ...], *, reason: str | None = None
    ) -> CreatedWebhook:
        by.require(control.WEBHOOKS_WRITE)
        by.require_reach(partner)
        by.require_environment(_BOTH)
        described = self._describe(url, events)
        await self._custody.get_partner(partner)
        author = await self._gate.pass_(
            by,
            action="webhook.create",
            subject=partner,
            partner=partner,
            change=described,
            reason=reason,
        )
        return await self._webhooks.create(partner, url, events, author=author)

    async def change(
        self,
        by: Operator,
        webhook_id: str,
        *,
        url: str | None = None,
        events: tuple[str, ...] | None = None,
        reason: str | None = None,
    ) -> Webhook:
        seen = await self._get_own(by, webhook_id)
        if url is None and events is None:
            raise NothingToChange("neither another URL nor other events are given")
        author = await self._pass(by, "webhook.change", seen, self._describe(url, events), reason)
        return await self._webhooks.change(webhook_id, url=url, events=events, author=author)

    async def disable(self, by: Operator, webhook_id: str, *, reason: str | None = None) -> Webhook:
        seen = await self._get_own(by, webhook_id)
        if seen.disabled_at is not None:
            raise WebhookAlreadyDisabled(webhook_id)
        author = await self._pass(by, "webhook.change", seen, {"disabled": True}, reason)
        return await self._webhooks.disable(webhook_id, author=author)

    async def enable(self, by: Operator, webhook_id: str, *, reason: str | None = None) -> Webhook:
        seen = await self._get_own(by, webhook_id)
        if seen.disabled_at is None:
            # Nobody is asked to approve what could not be done.
            raise WebhookNotDisabled(webhook_id)
        author = await self._pass(by, "webhook.change", seen, {"disabled": False}, reason)
        return await self._webhooks.enable(webhook_id, author=author)

    async def remove(self, by: Operator, webhook_id: str, *, reason: str | None = None) -> Webhook:
        """As it was, at the revision that removed it."""
        seen = await self._get_own(by, webhook_id)
        author = await self._pass(by, "webhook.remove", seen, {}, reason)
        return await self._webhooks.remove(webhook_id, author=author)

    async def test(self, by: Operator, webhook_id: str, *, reason: str | None = None) -> Webhook:
        await self._get_own(by, webhook_id)
        return await self._webhooks.test(webhook_id, author=by.author(reason))

    async def find_deliveries(
        self, by: Operator, webhook_id: str, *, before: int | None = None, limit: int = 20
    ) -> tuple[Delivery, ...]:
        """The newest first; `before` is the number of the last one that was seen."""
        by.require(control.WEBHOOKS_READ)
        await self._get_reached(by, webhook_id)
        return await self._webhooks.list_deliveries(webhook_id, limit, before=before)

    async def redeliver(
        self, by: Operator, delivery_id: str, *, webhook_id: str | None = None, reason: str | None = None
    ) -> Delivery:
        """`webhook_id`: where whoever asks believes that it went."""
        by.require(control.WEBHOOKS_WRITE)
        delivery = await self._webhooks.get_delivery(delivery_id)
        if webhook_id is not None and delivery.webhook != webhook_id:
            raise UnknownDelivery(delivery_id)
        try:
            await self._get_own(by, delivery.webhook)
        except UnknownWebhook:
            raise UnknownDelivery(delivery_id) from None
        return await self._webhooks.redeliver(delivery_id, author=by.author(reason))

    async def _pass(
        self, by: Operator, action: str, seen: Webhook, change: Mapping[str, Any], reason: str | None
    ) -> Author:
        return await self._gate.pass_(
            by,
            action=action,
            subject=seen.id,
            partner=seen.partner,
            change=change,
            standing=Standing("webhook", seen.id, seen.revision),
            reason=reason,
        )

    async def _get_own(self, by: Operator, webhook_id: str) -> Webhook:
        by.require(control.WEBHOOKS_WRITE)
        webhook = await self._get_reached(by, webhook_id)
        by.require_environment(_BOTH)
        return webhook

    async def _get_reached(self, by: Operator, webhook_id: str) -> Webhook:
        webhook = await self._webhooks.get(webhook_id)
        if not by.reaches(webhook.partner):
            raise UnknownWebhook(webhook_id)
        return webhook

    def _describe(self, url: str | None, events: tuple[str, ...] | None) -> dict[str, Any]:
        """Refuses what the store would refuse, before anybody is asked to agree."""
        described: dict[str, Any] = {}
        if url is not None:
            described["origin"] = self._webhooks.examine(url)
            described["url_sha256"] = hashlib.sha256(_LABEL + url.encode()).hexdigest()
        if events is not None:
            described["events"] = sorted(check_events(events))
        return described
