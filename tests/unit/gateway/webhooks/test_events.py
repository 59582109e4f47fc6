"""What partners are told of an entry of the ledger, and what not."""

import json
from typing import Any

import msgspec
import pytest

from gateway.webhooks import events
from keys import format as key_format
from keys.webhook_records import EVENTS
from storage.audit import AuditEntry, AuditEvent

KEY = key_format.mint_key_id("paper", bytes(16))
AT = 1_763_596_800_123
EXPIRES = AT + 86_400_000
SECRETIVE = {
    "actor": "cli:alice",
    "reason": "asked for by bob of zephyr",
    "source": "192.0.2.7",
    "request_id": "req-1",
    "approval": "apr-1",
}


def entry(action: str, subject: str = KEY, *, partner: str | None = "acme", **details: Any) -> AuditEntry:  # noqa: ANN401  as the ledger has them
    event = AuditEvent(
        at=AT,
        revision=9,
        action=action,
        subject=subject,
        environment="paper",
        partner=partner,
        details=details,
        **SECRETIVE,
    )
    return AuditEntry(7, event, "0" * 64, "1" * 64)


ROTATED = {
    "key": KEY,
    "environment": "paper",
    "version": 2,
    "previous_valid_until": "2025-11-21T00:00:00.123Z",
}
EXPIRING = {"key": KEY, "environment": "paper", "version": 2, "expires_at": "2025-11-21T00:00:00.123Z"}
OWN = {"key": KEY, "environment": "paper"}
TOLD = [
    (entry("api_key.revoked"), "key.revoked", OWN),
    (entry("api_key.frozen"), "key.frozen", OWN),
    (entry("api_key.unfrozen"), "key.unfrozen", OWN),
    (entry("secret.rotated", kind="api-key", version=2, overlap_ends=EXPIRES), "key.rotated", ROTATED),
    (entry("secret.activated", kind="api-key", version=2, overlap_ends=EXPIRES), "key.rotated", ROTATED),
    (
        entry("secret.expiring", kind="api-key", version=2, ending="overlap", ends_at=EXPIRES),
        "key.expiring",
        EXPIRING,
    ),
    (
        entry("secret.expiring", kind="api-key", version=2, ending="max-age", ends_at=EXPIRES),
        "key.expiring",
        OWN | {"version": 2, "rotate_by": "2025-11-21T00:00:00.123Z"},
    ),
    (
        entry("secret.expiring", "wh_1", kind="webhook", version=2, ending="max-age", ends_at=EXPIRES),
        "webhook.expiring",
        {"webhook": "wh_1", "version": 2, "rotate_by": "2025-11-21T00:00:00.123Z"},
    ),
    (
        entry("leak.found", key=KEY, version=2, outcome="frozen"),
        "leak.found",
        OWN | {"version": 2, "frozen": True},
    ),
    (entry("leak.found", key=KEY, outcome="was-frozen"), "leak.found", OWN | {"frozen": True}),
    (entry("leak.found", "leak_1", key=KEY, outcome="superseded"), "leak.found", OWN | {"frozen": False}),
    (
        entry("partner.frozen", "acme"),
        "partner.frozen",
        {"partner": "acme", "environments": ["paper", "live"]},
    ),
    (
        entry("partner.unfrozen", "acme"),
        "partner.unfrozen",
        {"partner": "acme", "environments": ["paper", "live"]},
    ),
    (entry("webhook.test", "wh_1"), "webhook.test", {"webhook": "wh_1"}),
]


@pytest.mark.parametrize(("told_of", "name", "fields"), TOLD)
def test_an_entry_becomes_an_event(told_of: AuditEntry, name: str, fields: dict[str, Any]) -> None:
    """With type, time and exactly these fields."""
    event = events.read(told_of)
    assert event is not None
    assert (event.type, event.partner) == (name, "acme")
    assert json.loads(event.body) == {"type": name, "timestamp": "2025-11-20T00:00:00.123Z", "data": fields}


def test_every_event_that_can_be_asked_for_can_happen() -> None:
    """And nothing happens that cannot be asked for, but what a webhook is told about itself."""
    assert {name for _, name, _ in TOLD} == {*EVENTS, *events.OWN}


@pytest.mark.parametrize(
    "silent",
    [
        entry("api_key.created"),
        entry("secret.rotated", kind="ring"),
        entry("secret.rotated", kind="webhook", version=2),
        entry("secret.rotated"),
        entry("secret.expiring", kind="upstream"),
        entry("api_key.revoked", "not-a-key"),
        entry("api_key.revoked", partner=None),
        entry("leak.found", "leak_1"),
        entry("leak.found", "leak_1", key="whsec_AAAA"),
        entry("partner.frozen", "zephyr"),
        entry("webhook.created", "wh_1", origin="https://a.example"),
        entry("webhook.given_up", "wh_1"),
    ],
)
def test_what_is_not_for_partners_is_told_to_nobody(silent: AuditEntry) -> None:
    """Other kinds of secrets, other actions, and entries that are not what they should be."""
    assert events.read(silent) is None


@pytest.mark.parametrize("told_of", [told_of for told_of, _, _ in TOLD])
def test_nothing_else_of_an_entry_goes_out(told_of: AuditEntry) -> None:
    """Neither who did it, from where, in what words, nor details that were not named, whatever they are called."""
    more = dict.fromkeys(("secret", "by", "found_at", "url", "other_partner", "note"), "canary")
    noisy = msgspec.structs.replace(told_of.event, details=told_of.event.details | more)
    event = events.read(AuditEntry(7, noisy, "0" * 64, "1" * 64))
    assert event is not None
    assert event.body == events.read(told_of).body  # type: ignore[union-attr]  # it is one
    for hidden in ("canary", *SECRETIVE.values()):
        assert hidden not in event.body


@pytest.mark.parametrize("odd", ["soon", True, 10**30, -1, None, [1]])
def test_a_detail_of_another_form_is_left_out(odd: object) -> None:
    """The event is told without it, and nothing stops."""
    event = events.read(entry("secret.rotated", kind="api-key", version=2, overlap_ends=odd))
    assert event is not None
    assert json.loads(event.body)["data"] == OWN | {"version": 2}


def test_what_is_about_a_webhook_is_for_that_one() -> None:
    """Others of the partner hear nothing of it."""
    for about in (entry("webhook.test", "wh_1"), entry("secret.expiring", "wh_1", kind="webhook")):
        told = events.read(about)
        assert told is not None
        assert told.webhook == "wh_1"
    revoked = events.read(entry("api_key.revoked"))
    assert revoked is not None
    assert revoked.webhook is None
