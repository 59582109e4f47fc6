"""Partners, API keys and secret versions as the control side sees them. None of these values holds a secret.

The one exception is `CreatedKey`, which carries a new secret to whoever asked for it, once, wrapped.
"""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from keys.environment import Environment
from keys.secret import Secret

Algorithm = Literal["hmac-sha256", "ed25519"]
VersionState = Literal["pending", "active", "retiring", "revoked", "destroyed"]


class Partner(msgspec.Struct, frozen=True, kw_only=True):
    """`revision` is that of its last change."""

    id: str
    name: str
    tier: str
    created_at: int
    frozen_at: int | None = None
    frozen_reason: str | None = None
    revision: int = 0


class SecretVersion(msgspec.Struct, frozen=True, kw_only=True):
    """`activates_at` and `retires_at` are what is planned for it, the other times are what has been.

    `overlap_ms`: for how long the version before it is to go on verifying once this one is active.
    """

    version: int
    state: VersionState
    created_at: int
    activates_at: int | None = None
    overlap_ms: int | None = None
    activated_at: int | None = None
    retiring_at: int | None = None
    retires_at: int | None = None
    revoked_at: int | None = None
    destroyed_at: int | None = None
    public_key: bytes | None = None
    public_id: str | None = None
    last_used_at: int | None = None
    last_used_source: str | None = None
    use_count: int = 0


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """`revision` is that of the last change of the key or of any of its versions."""

    id: str
    partner: str
    environment: Environment
    algorithm: Algorithm
    roles: tuple[str, ...]
    created_at: int
    permissions: tuple[str, ...] | None = None
    cidrs: tuple[str, ...] = ()
    label: str = ""
    expires_at: int | None = None
    frozen_at: int | None = None
    frozen_reason: str | None = None
    revoked_at: int | None = None
    revoked_reason: str | None = None
    revision: int = 0
    versions: tuple[SecretVersion, ...] = ()


class KeyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a new key is asked to be. `permissions` narrows what the roles grant; None leaves it as it is."""

    partner: str
    environment: Environment
    algorithm: Algorithm
    roles: tuple[str, ...]
    public_key: bytes | None = None
    permissions: tuple[str, ...] | None = None
    cidrs: tuple[str, ...] = ()
    expires_at: int | None = None
    label: str = ""


class KeyChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a key is to be from now on; what is not set stays. A list replaces the whole list."""

    roles: tuple[str, ...] | UnsetType = UNSET
    permissions: tuple[str, ...] | UnsetType | None = UNSET
    cidrs: tuple[str, ...] | UnsetType = UNSET
    expires_at: int | UnsetType | None = UNSET
    label: str | UnsetType = UNSET


class PartnerChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    name: str | UnsetType = UNSET
    tier: str | UnsetType = UNSET


class CreatedKey(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    key: ApiKey
    version: int
    secret: Secret | None


class KeyPage(msgspec.Struct, frozen=True, kw_only=True):
    """`after` is what the next page is asked with; None when this is the last."""

    keys: tuple[ApiKey, ...]
    after: str | None
