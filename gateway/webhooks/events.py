"""From an entry of the ledger to what a partner is told of it. Pure.

Invariant: a message is built from fields that are named here and have the form that is expected here; nothing else of
an entry goes out: not who did it, not from where, not their words, and nothing of another partner. What is not known
here is told to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

import msgspec

from keys import format as key_format
from keys.environment import ENVIRONMENTS
from storage.audit import AuditEntry, AuditEvent

TEST: Final = "webhook.test"
EXPIRING: Final = "webhook.expiring"
# Told to the webhook that they are about, and to no other.
OWN: Final = frozenset({TEST, EXPIRING})

Fields = dict[str, Any]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_KEY_KIND: Final = "api-key"
_WEBHOOK_KIND: Final = "webhook"
# How a find leaves the key: what else there is (it was revoked, or another version serves) freezes nothing.
_LEFT_FROZEN: Final = ("frozen", "was-frozen")
_LAST_MS: Final = 253_402_300_799_999


class Event(msgspec.Struct, frozen=True):
    """`webhook`: the one that it is for, subscribed or not; None: every one of the partner's that asked for it."""

    type: str
    partner: str
    body: str
    webhook: str | None = None


class _Nothing(Exception):
    """The entry is not what this event is made of."""


def read(entry: AuditEntry) -> Event | None:
    event = entry.event
    known = _find(event)
    if known is None or event.partner is None:
        return None
    name, describe = known
    try:
        fields = describe(event)
    except _Nothing:
        return None
    body = {"type": name, "timestamp": _show(event.at), "data": fields}
    webhook = event.subject if name in OWN else None
    return Event(name, event.partner, msgspec.json.encode(body).decode(), webhook)


def _find(event: AuditEvent) -> tuple[str, Callable[[AuditEvent], Fields]] | None:
    if event.action == "secret.expiring" and event.details.get("kind") == _WEBHOOK_KIND:
        return EXPIRING, _describe_webhook_expiry
    return _ACTIONS.get(event.action)


def _describe_key(event: AuditEvent) -> Fields:
    """The subject is the key, or the details name it."""
    for candidate in (event.subject, event.details.get("key"), event.details.get("key_id")):
        if isinstance(candidate, str) and _is_key_id(candidate):
            return {"key": candidate, "environment": key_format.parse_key_id(candidate)}
    raise _Nothing


def _describe_rotation(event: AuditEvent) -> Fields:
    fields = _describe_key(event)
    _require_key_secret(event)
    return (
        fields
        | _number(event.details, "version")
        | _moment(event.details, "overlap_ends", "previous_valid_until")
    )


def _describe_expiry(event: AuditEvent) -> Fields:
    fields = _describe_key(event)
    _require_key_secret(event)
    return fields | _number(event.details, "version") | _describe_end(event)


def _describe_webhook_expiry(event: AuditEvent) -> Fields:
    return {"webhook": event.subject} | _number(event.details, "version") | _describe_end(event)


def _describe_end(event: AuditEvent) -> Fields:
    """What grows too old goes on working: by then it is to be replaced, and nothing ends."""
    told_as = "rotate_by" if event.details.get("ending") == "max-age" else "expires_at"
    return _moment(event.details, "ends_at", told_as)


def _describe_leak(event: AuditEvent) -> Fields:
    fields = _describe_key(event)
    frozen = event.details.get("outcome") in _LEFT_FROZEN
    return fields | _number(event.details, "version") | {"frozen": frozen}


def _describe_partner(event: AuditEvent) -> Fields:
    if event.subject != event.partner:
        raise _Nothing
    return {"partner": event.partner, "environments": list(ENVIRONMENTS)}


def _describe_test(event: AuditEvent) -> Fields:
    return {"webhook": event.subject}


def _require_key_secret(event: AuditEvent) -> None:
    if event.action.startswith("secret.") and event.details.get("kind") != _KEY_KIND:
        raise _Nothing


def _is_key_id(text: str) -> bool:
    try:
        key_format.parse_key_id(text)
    except key_format.MalformedKeyId:
        return False
    return True


def _number(details: Mapping[str, Any], name: str) -> Fields:
    found = _find_number(details, name)
    return {} if found is None else {name: found}


def _moment(details: Mapping[str, Any], name: str, told_as: str) -> Fields:
    found = _find_number(details, name)
    # One entry that makes no sense must not hold up all that come after it.
    return {} if found is None or not 0 <= found <= _LAST_MS else {told_as: _show(found)}


def _find_number(details: Mapping[str, Any], name: str) -> int | None:
    found = details.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _show(moment_ms: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=moment_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


_ACTIONS: Final[Mapping[str, tuple[str, Callable[[AuditEvent], Fields]]]] = MappingProxyType(
    {
        "api_key.revoked": ("key.revoked", _describe_key),
        "api_key.frozen": ("key.frozen", _describe_key),
        "api_key.unfrozen": ("key.unfrozen", _describe_key),
        "secret.rotated": ("key.rotated", _describe_rotation),
        "secret.activated": ("key.rotated", _describe_rotation),
        "secret.expiring": ("key.expiring", _describe_expiry),
        "leak.found": ("leak.found", _describe_leak),
        "partner.frozen": ("partner.frozen", _describe_partner),
        "partner.unfrozen": ("partner.unfrozen", _describe_partner),
        TEST: (TEST, _describe_test),
    }
)
