"""What the control surface says of webhooks, and what may be asked of one.

Invariant: a URL may hold a partner's own secret in its query, so it is in no `repr`; a new secret has a place in one
type, which only a create answers with.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from gateway.api.control import types
from keys import webhook_records as records

Event = Annotated[str, Meta(pattern=f"^(?:{'|'.join(map(re.escape, records.EVENTS))})$")]
Url = Annotated[str, Meta(min_length=1, max_length=2048, description="An https:// address that is public")]
Events = Annotated[tuple[Event, ...], Meta(min_length=1, max_length=len(records.EVENTS))]


class WebhookCreation(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Without `events` it is told of everything that there is now."""

    partner: types.PartnerId
    url: Url
    events: Events | None = None
    reason: types.Reason | None = None

    def __repr__(self) -> str:
        return f"WebhookCreation({self.partner})"


class WebhookPatch(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is absent stays as it is."""

    url: Url | UnsetType = UNSET
    events: Events | UnsetType = UNSET
    reason: types.Reason | None = None

    def __repr__(self) -> str:
        return "WebhookPatch(***)"


class WebhookRemoval(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """In the query: a DELETE has no body."""

    reason: types.Reason | UnsetType = UNSET


class Webhook(Struct, frozen=True, kw_only=True):
    id: str
    partner: str
    url: str
    events: tuple[str, ...]
    created_at: types.Moment
    disabled_at: types.Moment | None
    disabled_reason: str | None

    def __repr__(self) -> str:
        return f"Webhook({self.id})"


class MadeWebhook(Struct, frozen=True, kw_only=True):
    """`secret` stands in the first answer alone; `secret_shown` says that an earlier one had it."""

    webhook: Webhook
    version: int
    secret: str | None
    secret_shown: bool

    def __repr__(self) -> str:
        return f"MadeWebhook({self.webhook.id})"


class WebhookList(Struct, frozen=True, kw_only=True):
    items: tuple[Webhook, ...]
    next: str | None


class WebhookQuery(types.Paging, frozen=True, forbid_unknown_fields=True, kw_only=True):
    partner: types.PartnerId | UnsetType = UNSET


class Delivery(Struct, frozen=True, kw_only=True):
    """`id` went out as `webhook-id` with every attempt; `seq` is the entry of the ledger that it tells of."""

    id: str
    seq: int
    event: str
    state: records.DeliveryState
    attempts: int
    created_at: types.Moment
    next_attempt_at: types.Moment | None
    last_status: int | None
    last_failure: str | None
    ended_at: types.Moment | None


class DeliveryList(Struct, frozen=True, kw_only=True):
    items: tuple[Delivery, ...]
    next: str | None


SAMPLE: Final = Webhook(
    id="wh_5d41402abc4b2a76b9719d91",
    partner="acme",
    url="https://hooks.example.com/portreeve",
    events=("key.revoked", "leak.found"),
    created_at=1_763_596_800_000,
    disabled_at=None,
    disabled_reason=None,
)
SAMPLE_DISABLED: Final = structs.replace(SAMPLE, disabled_at=1_763_596_900_000, disabled_reason="we move it")
SAMPLE_DELIVERY: Final = Delivery(
    id="msg_7d793037a0760186574b0282",
    seq=118,
    event="key.revoked",
    state="waiting",
    attempts=2,
    created_at=1_763_596_800_000,
    next_attempt_at=1_763_596_840_000,
    last_status=503,
    last_failure="status 503",
    ended_at=None,
)
