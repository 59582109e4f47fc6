"""Webhooks: where partners want to be told, of what, and what they were told.

Invariant: a new secret stands in one answer, that to the request which made it; it is rotated as every secret is. A URL
is told to those who reach its partner, since they gave it; whatever was answered there, and what was sent, is not told.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from litestar import Controller
from msgspec import structs

from gateway.api.control import types
from gateway.api.control import webhook_types as kinds
from gateway.api.control.call import Call, Reply
from gateway.api.control.endpoint import endpoint
from gateway.api.control.rules import PREFIX, Rule
from gateway.operations import Operator
from keys import webhook_records as records
from keys import webhooks
from policies import control

TAG: Final = "webhooks"
_FIRST_VERSION: Final = 1


class WebhookController(Controller):
    path = PREFIX

    @endpoint(
        Rule(
            id="list_webhooks",
            method="GET",
            path="/webhooks",
            tag=TAG,
            summary="List webhooks, by their ids",
            permission=control.WEBHOOKS_READ,
            reach="listed",
            query=kinds.WebhookQuery,
            answer=kinds.WebhookList,
            refuses=("not_found",),
            sample=kinds.WebhookList(items=(kinds.SAMPLE,), next=None),
        )
    )
    async def list_webhooks(self, call: Call) -> Reply:
        after, limit = call.position(str), call.query.limit
        found = await call.operations.webhooks.find_all(
            call.operator, partner=types.given(call.query.partner)
        )
        by_id = sorted(found, key=lambda one: one.id)
        left = [webhook for webhook in by_id if after is None or webhook.id > after]
        following = call.next(left[limit - 1].id if len(left) > limit else None)
        items = tuple(_view(webhook) for webhook in left[:limit])
        return Reply(kinds.WebhookList(items=items, next=following), next=following)

    @endpoint(
        Rule(
            id="create_webhook",
            method="POST",
            path="/webhooks",
            tag=TAG,
            summary="Take on a webhook",
            description="The answer shows its secret, this once. With the same Idempotency-Key the same request"
            " answers with the same webhook for a day, with `secret: null` and `secret_shown: true`.",
            permission=control.WEBHOOKS_WRITE,
            reach="own",
            environment="live",
            body=kinds.WebhookCreation,
            answer=kinds.MadeWebhook,
            status=201,
            settles="webhook.created",
            refuses=("not_found", "kms_unavailable"),
            sample_body=kinds.WebhookCreation(
                partner="acme", url=kinds.SAMPLE.url, events=("key.revoked", "leak.found")
            ),
            sample=kinds.MadeWebhook(webhook=kinds.SAMPLE, version=1, secret="whsec_…", secret_shown=False),  # noqa: S106  no secret
        )
    )
    async def create_webhook(self, call: Call) -> Reply:
        asked: kinds.WebhookCreation = call.body

        async def make(by: Operator) -> Reply:
            made = await call.operations.webhooks.create(
                by, asked.partner, asked.url, asked.events or records.EVENTS, reason=asked.reason
            )
            return _made(made.webhook, made.version, made.secret.reveal())

        async def again(by: Operator, webhook_id: str) -> Reply:
            found = await call.operations.webhooks.get(by.with_permission(control.WEBHOOKS_READ), webhook_id)
            return _made(found, _FIRST_VERSION, None)

        return await call.once(make, again)

    @endpoint(
        Rule(
            id="get_webhook",
            method="GET",
            path="/webhooks/{webhook_id}",
            tag=TAG,
            summary="Look at one webhook",
            permission=control.WEBHOOKS_READ,
            reach="own",
            answer=kinds.Webhook,
            sample=kinds.SAMPLE,
        )
    )
    async def get_webhook(self, call: Call) -> Reply:
        return _one(await call.operations.webhooks.get(call.operator, call.parameters["webhook_id"]))

    @endpoint(
        Rule(
            id="change_webhook",
            method="PATCH",
            path="/webhooks/{webhook_id}",
            tag=TAG,
            summary="Lead a webhook elsewhere, or tell it of other events",
            description="What is absent stays as it is.",
            permission=control.WEBHOOKS_WRITE,
            reach="own",
            environment="live",
            body=kinds.WebhookPatch,
            answer=kinds.Webhook,
            conditional=True,
            sample_body=kinds.WebhookPatch(events=("key.revoked", "leak.found"), reason="the rest is noise"),
            sample=kinds.SAMPLE,
        )
    )
    async def change_webhook(self, call: Call) -> Reply:
        asked: kinds.WebhookPatch = call.body
        return _one(
            await call.operations.webhooks.change(
                _unchanged(call),
                call.parameters["webhook_id"],
                url=types.given(asked.url),
                events=types.given(asked.events),
                reason=asked.reason,
            )
        )

    @endpoint(
        Rule(
            id="remove_webhook",
            method="DELETE",
            path="/webhooks/{webhook_id}",
            tag=TAG,
            summary="Forget a webhook and its secret, for good",
            description="Answers with the webhook as it was.",
            permission=control.WEBHOOKS_WRITE,
            reach="own",
            environment="live",
            query=kinds.WebhookRemoval,
            answer=kinds.Webhook,
            conditional=True,
            sample=kinds.SAMPLE,
        )
    )
    async def remove_webhook(self, call: Call) -> Reply:
        removed = await call.operations.webhooks.remove(
            _unchanged(call), call.parameters["webhook_id"], reason=types.given(call.query.reason)
        )
        return _one(removed)

    @endpoint(
        Rule(
            id="disable_webhook",
            method="POST",
            path="/webhooks/{webhook_id}/disable",
            tag=TAG,
            summary="Tell a webhook nothing until it is enabled",
            permission=control.WEBHOOKS_WRITE,
            reach="own",
            environment="live",
            body=types.Why,
            answer=kinds.Webhook,
            conditional=True,
            sample_body=types.Why(reason="we move it"),
            sample=kinds.SAMPLE_DISABLED,
        )
    )
    async def disable_webhook(self, call: Call) -> Reply:
        return _one(
            await call.operations.webhooks.disable(
                _unchanged(call), call.parameters["webhook_id"], reason=call.body.reason
            )
        )

    @endpoint(
        Rule(
            id="enable_webhook",
            method="POST",
            path="/webhooks/{webhook_id}/enable",
            tag=TAG,
            summary="Tell a disabled webhook again",
            permission=control.WEBHOOKS_WRITE,
            reach="own",
            environment="live",
            body=types.Why,
            answer=kinds.Webhook,
            conditional=True,
            sample_body=types.Why(reason="it has moved"),
            sample=kinds.SAMPLE,
        )
    )
    async def enable_webhook(self, call: Call) -> Reply:
        return _one(
            await call.operations.webhooks.enable(
                _unchanged(call), call.parameters["webhook_id"], reason=call.body.reason
            )
        )

    @endpoint(
        Rule(
            id="test_webhook",
            method="POST",
            path="/webhooks/{webhook_id}/test",
            tag=TAG,
            summary="Send a webhook a `webhook.test`, whatever else it is told of",
            permission=control.WEBHOOKS_WRITE,
            reach="own",
            environment="live",
            body=types.Why,
            answer=kinds.Webhook,
            # Nothing of the webhook changes.
            tagged=False,
            sample_body=types.Why(reason="does it arrive?"),
            sample=kinds.SAMPLE,
        )
    )
    async def test_webhook(self, call: Call) -> Reply:
        tested = await call.operations.webhooks.test(
            call.operator, call.parameters["webhook_id"], reason=call.body.reason
        )
        return Reply(_view(tested))

    @endpoint(
        Rule(
            id="list_deliveries",
            method="GET",
            path="/webhooks/{webhook_id}/deliveries",
            tag=TAG,
            summary="List what a webhook was told, the newest first",
            permission=control.WEBHOOKS_READ,
            reach="own",
            query=types.Paging,
            answer=kinds.DeliveryList,
            sample=kinds.DeliveryList(items=(kinds.SAMPLE_DELIVERY,), next=None),
        )
    )
    async def list_deliveries(self, call: Call) -> Reply:
        before, limit = call.position(int), call.query.limit
        found = await call.operations.webhooks.find_deliveries(
            call.operator, call.parameters["webhook_id"], before=before, limit=limit + 1
        )
        following = call.next(found[limit - 1].seq if len(found) > limit else None)
        items = tuple(_view_delivery(each) for each in found[:limit])
        return Reply(kinds.DeliveryList(items=items, next=following), next=following)

    @endpoint(
        Rule(
            id="redeliver",
            method="POST",
            path="/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver",
            tag=TAG,
            summary="Put a delivery that has ended in line again",
            description="Its id stays, so that its receiver can tell that it is the same message.",
            permission=control.WEBHOOKS_WRITE,
            reach="own",
            environment="live",
            body=types.Why,
            answer=kinds.Delivery,
            # A delivery goes on by itself.
            tagged=False,
            sample_body=types.Why(reason="we were down"),
            sample=structs.replace(
                kinds.SAMPLE_DELIVERY,
                attempts=0,
                last_status=None,
                last_failure=None,
                next_attempt_at=1_763_597_000_000,
            ),
        )
    )
    async def redeliver(self, call: Call) -> Reply:
        again = await call.operations.webhooks.redeliver(
            call.operator,
            call.parameters["delivery_id"],
            webhook_id=call.parameters["webhook_id"],
            reason=call.body.reason,
        )
        return Reply(_view_delivery(again))


def _unchanged(call: Call) -> Operator:
    return call.if_unchanged(partial(webhooks.find_revision, webhook_id=call.parameters["webhook_id"]))


def _view(webhook: records.Webhook) -> kinds.Webhook:
    return kinds.Webhook(**{name: getattr(webhook, name) for name in kinds.Webhook.__struct_fields__})


def _view_delivery(delivery: records.Delivery) -> kinds.Delivery:
    return kinds.Delivery(**{name: getattr(delivery, name) for name in kinds.Delivery.__struct_fields__})


def _one(webhook: records.Webhook) -> Reply:
    return Reply(_view(webhook), revision=webhook.revision)


def _made(webhook: records.Webhook, version: int, secret: str | None) -> Reply:
    made = kinds.MadeWebhook(
        webhook=_view(webhook), version=version, secret=secret, secret_shown=secret is None
    )
    return Reply(made, revision=webhook.revision, location=f"{PREFIX}/webhooks/{webhook.id}")
