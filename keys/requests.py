"""Checking what is asked of custody before anything is stored. Pure.

Invariant: what passes is stored as it stands, so that two spellings of one address range, role list or name never lie
side by side; and what people write holds no secret. Whether a role, a permission or a tier exists is the policies'
knowledge; here only its shape counts. Partner ids are also hash tags in the shared store, which is why their alphabet
is small.
"""

import ipaddress
import re
from typing import Final, get_args

import msgspec
from msgspec import UNSET

from keys import ed25519, environment, refusals
from keys import format as key_format
from keys.records import Algorithm, KeyChange, KeyRequest

_PARTNER_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PERMISSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}:[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
LONGEST_TEXT: Final = 200
_LONGEST_REASON: Final = 500
_MOST_ENTRIES: Final = 64


class InvalidPartnerId(refusals.InvalidRequest):
    field = "partner"


class InvalidName(refusals.InvalidRequest):
    field = "name"


class InvalidTier(refusals.InvalidRequest):
    field = "tier"


class InvalidLabel(refusals.InvalidRequest):
    field = "label"


class InvalidReason(refusals.InvalidRequest):
    field = "reason"


class InvalidAlgorithm(refusals.InvalidRequest):
    field = "algorithm"


class InvalidRoles(refusals.InvalidRequest):
    field = "roles"


class InvalidPermissions(refusals.InvalidRequest):
    field = "permissions"


class InvalidCidr(refusals.InvalidRequest):
    field = "cidrs"


class InvalidExpiry(refusals.InvalidRequest):
    field = "expires_at"


class PublicKeyMissing(refusals.InvalidRequest):
    field = "public_key"


class PublicKeyNeedless(refusals.InvalidRequest):
    field = "public_key"


def check_partner(partner_id: str, name: str, tier: str) -> None:
    if _PARTNER_ID.fullmatch(partner_id) is None:
        raise InvalidPartnerId("a partner id is 1 to 63 of a-z, 0-9 and -, and does not begin with -")
    if not name or not is_plain(name, LONGEST_TEXT):
        raise InvalidName(
            f"a name is 1 to {LONGEST_TEXT} printable characters without space around them, and no secret"
        )
    if _WORD.fullmatch(tier) is None:
        raise InvalidTier(f"not the name of a tier: {tier!r:.80}")


def check_reason(reason: str | None) -> None:
    if reason is not None and not (reason and is_plain(reason, _LONGEST_REASON)):
        raise InvalidReason(
            f"a reason is 1 to {_LONGEST_REASON} printable characters and no secret, or none is given"
        )


def check_key_change(change: KeyChange, now_ms: int) -> KeyChange:
    checked: dict[str, object] = {}
    if change.label is not UNSET:
        check_label(change.label)
    if change.expires_at is not UNSET and change.expires_at is not None and change.expires_at <= now_ms:
        raise InvalidExpiry("to end a key now, revoke it")
    if change.roles is not UNSET:
        checked["roles"] = check_roles(change.roles)
    if change.permissions is not UNSET:
        checked["permissions"] = check_permissions(change.permissions)
    if change.cidrs is not UNSET:
        checked["cidrs"] = check_cidrs(change.cidrs)
    return msgspec.structs.replace(change, **checked)


def check_key(request: KeyRequest, now_ms: int) -> KeyRequest:
    environment.parse_environment(request.environment)
    _check_public_key(request)
    check_label(request.label)
    if request.expires_at is not None and request.expires_at <= now_ms:
        raise InvalidExpiry("the key would have expired before it is made")
    return msgspec.structs.replace(
        request,
        roles=check_roles(request.roles),
        permissions=check_permissions(request.permissions),
        cidrs=check_cidrs(request.cidrs),
    )


def check_label(label: str) -> None:
    if not is_plain(label, LONGEST_TEXT):
        raise InvalidLabel(f"a label is at most {LONGEST_TEXT} printable characters, and no secret")


def _check_public_key(request: KeyRequest) -> None:
    if request.algorithm not in get_args(Algorithm):
        raise InvalidAlgorithm(f"an algorithm is one of {', '.join(get_args(Algorithm))}")
    if request.algorithm == "hmac-sha256":
        if request.public_key is not None:
            raise PublicKeyNeedless("an hmac-sha256 key has a secret and no public key")
        return
    if request.public_key is None:
        raise PublicKeyMissing("an ed25519 key needs the partner's public key")
    ed25519.validate_public_key(request.public_key)


def check_roles(roles: tuple[str, ...]) -> tuple[str, ...]:
    if not 1 <= len(roles) <= _MOST_ENTRIES:
        raise InvalidRoles(f"a key has 1 to {_MOST_ENTRIES} roles")
    for role in roles:
        if _WORD.fullmatch(role) is None:
            raise InvalidRoles(f"not the name of a role: {role!r:.80}")
    return distinct(roles)


def check_permissions(permissions: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if permissions is None:
        return None
    if len(permissions) > _MOST_ENTRIES:
        raise InvalidPermissions(f"a key is narrowed to at most {_MOST_ENTRIES} permissions")
    for permission in permissions:
        if _PERMISSION.fullmatch(permission) is None:
            raise InvalidPermissions(f"not a permission, which reads scope:action: {permission!r:.80}")
    return distinct(permissions)


def check_cidrs(cidrs: tuple[str, ...]) -> tuple[str, ...]:
    if len(cidrs) > _MOST_ENTRIES:
        raise InvalidCidr(f"a key has at most {_MOST_ENTRIES} address ranges")
    return distinct(tuple(_canonical_cidr(cidr) for cidr in cidrs))


def _canonical_cidr(cidr: str) -> str:
    try:
        network = ipaddress.ip_network(cidr)
    except ValueError as cause:
        raise InvalidCidr(f"not an address range, or with bits beyond its prefix: {cidr!r:.80}") from cause
    if isinstance(network, ipaddress.IPv6Network):
        _refuse_unmatchable(network)
    return str(network)


def _refuse_unmatchable(network: ipaddress.IPv6Network) -> None:
    """Sources are compared as plain addresses: a range written as one of these would never let anybody in."""
    first = network.network_address
    if first.ipv4_mapped is not None or first.scope_id is not None:
        raise InvalidCidr(f"write IPv4 ranges as IPv4, and ranges without a zone: {str(network)!r:.80}")


def distinct(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def is_plain(text: str, longest: int) -> bool:
    """Nor a secret: what people write is read by many, and stands in the ledger for good."""
    plain = len(text) <= longest and text.isprintable() and text == text.strip()
    return plain and not key_format.holds_secret(text)
