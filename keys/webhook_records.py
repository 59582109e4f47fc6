"""Webhooks and their deliveries as others see them, and what may be asked of one. Pure.

None of these values holds a secret but `CreatedWebhook`, which carries a new one to whoever asked for it, once,
wrapped. A URL may hold a partner's own secret in its query: it is in no `repr`, and only its origin is audited.
"""

from typing import Final, Literal

import msgspec

from keys import refusals
from keys.secret import Secret

DeliveryState = Literal["waiting", "delivered", "given-up"]

# What a webhook may be subscribed to. What is about itself reaches it in any case.
EVENTS: Final = (
    "key.expiring",
    "key.frozen",
    "key.revoked",
    "key.rotated",
    "key.unfrozen",
    "leak.found",
    "partner.frozen",
    "partner.unfrozen",
)
MOST_PER_PARTNER: Final = 16


class InvalidEvents(refusals.InvalidRequest):
    field = "events"


class InvalidUrl(refusals.InvalidRequest):
    """The message says what is wrong and shows nothing of the URL: a partner's secret may stand in it."""

    field = "url"


class NothingToChange(refusals.InvalidRequest):
    field = "url"


class UnknownWebhook(refusals.NotFound):
    def __init__(self, webhook_id: str) -> None:
        super().__init__(f"there is no webhook {webhook_id!r:.80}")


class UnknownDelivery(refusals.NotFound):
    def __init__(self, delivery_id: str) -> None:
        super().__init__(f"there is no delivery {delivery_id!r:.80}")


class TooManyWebhooks(refusals.Conflict):
    def __init__(self, partner_id: str) -> None:
        super().__init__(f"partner {partner_id!r} has {MOST_PER_PARTNER} webhooks, which is the most")


class WebhookAlreadyDisabled(refusals.Conflict):
    def __init__(self, webhook_id: str) -> None:
        super().__init__(f"webhook {webhook_id} is disabled")


class WebhookNotDisabled(refusals.Conflict):
    def __init__(self, webhook_id: str) -> None:
        super().__init__(f"webhook {webhook_id} is not disabled")


class DeliveryStillWaiting(refusals.Conflict):
    def __init__(self, delivery_id: str) -> None:
        super().__init__(f"delivery {delivery_id} is waiting for its next attempt already")


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    partner: str
    url: str
    events: tuple[str, ...]
    created_at: int
    disabled_at: int | None = None
    disabled_reason: str | None = None
    revision: int = 0

    def __repr__(self) -> str:
        return f"Webhook({self.id})"


class CreatedWebhook(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    webhook: Webhook
    version: int
    secret: Secret


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """`id` goes out as `webhook-id` with every attempt; `seq` is the entry of the ledger that it tells of."""

    id: str
    webhook: str
    seq: int
    event: str
    body: str
    state: DeliveryState
    attempts: int
    created_at: int
    next_attempt_at: int | None = None
    last_status: int | None = None
    last_failure: str | None = None
    ended_at: int | None = None


def check_events(events: tuple[str, ...]) -> tuple[str, ...]:
    if not events:
        raise InvalidEvents(f"a webhook is told of at least one of {', '.join(EVENTS)}")
    for event in events:
        if event not in EVENTS:
            raise InvalidEvents(f"unknown event {event!r:.80}; there are {', '.join(EVENTS)}")
    return tuple(sorted(set(events)))
