"""What the ledger tells of a rotation: which versions, and what was known of their use; never any material."""

from collections.abc import Mapping
from typing import Any

from keys import evidence, rotation
from keys.changes import Change
from keys.held import HeldSecret
from keys.records import SecretVersion
from keys.rotation import Versions


async def record(change: Change, action: str, secret: HeldSecret, details: Mapping[str, Any]) -> None:
    await change.record(
        action,
        secret.id,
        environment=secret.environment,
        partner=secret.partner,
        details={"kind": secret.kind, **details},
    )


def succession(before: Versions, after: Versions, number: int, *, even_if_used: bool) -> dict[str, Any]:
    """Of a new active version: what it follows, until when that goes on, and what ended by it."""
    replaced, retiring = rotation.find_active(before), rotation.find_retiring(after)
    return {
        "version": number,
        "replaced": None if replaced is None else used(replaced),
        "overlap_ends": None if retiring is None else retiring.retires_at,
        "ended": [used(each) for each in evidence.ended(before, after)],
        "even_if_used": even_if_used,
    }


def told(secret: HeldSecret, number: int) -> dict[str, Any]:
    return used(rotation.get(secret.versions, number))


def used(version: SecretVersion) -> dict[str, Any]:
    return {
        "version": version.version,
        "last_used_at": version.last_used_at,
        "last_used_source": version.last_used_source,
        "use_count": version.use_count,
    }
