"""What is asked and told of API keys: the types of their endpoints, and what is made of a key for an answer.

Invariant: no answer but `MadeKey` has a place for a secret. When a key was last used is not told here: it changes
without the key being changed, so an `ETag` could not speak for it.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from gateway.api.control import types
from gateway.api.control.rules import PREFIX
from keys import records
from keys.environment import Environment

Roles = Annotated[tuple[types.Name, ...], Meta(min_length=1, max_length=64)]
Permissions = Annotated[tuple[types.Permission, ...], Meta(max_length=64)]
Cidrs = Annotated[tuple[types.Cidr, ...], Meta(max_length=64)]


class KeyCreation(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`permissions` narrows what the roles grant; null leaves it as it is."""

    partner: types.PartnerId
    environment: Environment
    algorithm: records.Algorithm
    roles: Roles
    public_key: types.PublicKey | None = None
    permissions: Permissions | None = None
    cidrs: Cidrs = ()
    expires_at: types.Moment | None = None
    label: types.Text = ""
    reason: types.Reason | None = None


class KeyPatch(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is absent stays. A list replaces the whole list; null clears: no narrowing, no ranges, no end, no label."""

    roles: Roles | UnsetType = UNSET
    permissions: Permissions | UnsetType | None = UNSET
    cidrs: Cidrs | UnsetType | None = UNSET
    expires_at: types.Moment | UnsetType | None = UNSET
    label: types.Text | UnsetType | None = UNSET
    reason: types.Reason | None = None


class KeyVersion(Struct, frozen=True, kw_only=True):
    version: int
    state: records.VersionState
    public_key: str | None
    created_at: types.Moment
    activates_at: types.Moment | None
    activated_at: types.Moment | None
    retiring_at: types.Moment | None
    retires_at: types.Moment | None
    revoked_at: types.Moment | None
    destroyed_at: types.Moment | None


class Key(Struct, frozen=True, kw_only=True):
    id: str
    partner: str
    environment: Environment
    algorithm: records.Algorithm
    roles: tuple[str, ...]
    permissions: tuple[str, ...] | None
    cidrs: tuple[str, ...]
    label: str
    created_at: types.Moment
    expires_at: types.Moment | None
    frozen_at: types.Moment | None
    frozen_reason: str | None
    revoked_at: types.Moment | None
    revoked_reason: str | None
    versions: tuple[KeyVersion, ...]


class MadeKey(Struct, frozen=True, kw_only=True):
    """`secret` stands in the first answer alone; `secret_shown` says that an earlier one had it."""

    key: Key
    version: int
    secret: str | None
    secret_shown: bool

    def __repr__(self) -> str:
        return f"MadeKey({self.key.id})"


class KeyList(Struct, frozen=True, kw_only=True):
    items: tuple[Key, ...]
    next: str | None


class KeyQuery(types.Paging, frozen=True, forbid_unknown_fields=True, kw_only=True):
    partner: types.PartnerId | UnsetType = UNSET
    environment: Environment | UnsetType = UNSET


SAMPLE: Final = Key(
    id="prk_paper_2Yk4Nq0cJ8mVtXwR5sLbZe1A7hKc",
    partner="acme",
    environment="paper",
    algorithm="hmac-sha256",
    roles=("trader",),
    permissions=None,
    cidrs=("203.0.113.0/24",),
    label="order router",
    created_at=1_763_596_800_000,
    expires_at=None,
    frozen_at=None,
    frozen_reason=None,
    revoked_at=None,
    revoked_reason=None,
    versions=(
        KeyVersion(
            version=1,
            state="active",
            public_key=None,
            created_at=1_763_596_800_000,
            activates_at=None,
            activated_at=1_763_596_800_000,
            retiring_at=None,
            retires_at=None,
            revoked_at=None,
            destroyed_at=None,
        ),
    ),
)
SAMPLE_LIST: Final = KeyList(
    items=(SAMPLE,), next=f"{PREFIX}/keys?limit=1&after=WyJsaXN0X2tleXMiLCJwcmsiXQ=="
)
SAMPLE_FROZEN: Final = structs.replace(SAMPLE, frozen_at=1_763_596_900_000, frozen_reason="a test of ours")
SAMPLE_REVOKED: Final = structs.replace(
    SAMPLE, revoked_at=1_763_596_900_000, revoked_reason="found in a public repository"
)
SAMPLE_CREATION: Final = KeyCreation(
    partner="acme",
    environment="paper",
    algorithm="hmac-sha256",
    roles=("trader",),
    cidrs=("203.0.113.0/24",),
    label="order router",
)
SAMPLE_PATCH: Final = KeyPatch(
    cidrs=("203.0.113.0/25",), label="order router, second site", reason="moved to one half of the network"
)
SAMPLE_CHANGED: Final = structs.replace(SAMPLE, cidrs=("203.0.113.0/25",), label="order router, second site")
SAMPLE_MADE: Final = MadeKey(key=SAMPLE, version=1, secret="prs_paper_…", secret_shown=False)  # noqa: S106  no secret


def request_of(asked: KeyCreation) -> records.KeyRequest:
    return records.KeyRequest(
        partner=asked.partner,
        environment=asked.environment,
        algorithm=asked.algorithm,
        roles=asked.roles,
        public_key=None if asked.public_key is None else bytes.fromhex(asked.public_key),
        permissions=asked.permissions,
        cidrs=asked.cidrs,
        expires_at=asked.expires_at,
        label=asked.label,
    )


def change_of(asked: KeyPatch) -> records.KeyChange:
    return records.KeyChange(
        roles=asked.roles,
        permissions=asked.permissions,
        cidrs=() if asked.cidrs is None else asked.cidrs,
        expires_at=asked.expires_at,
        label="" if asked.label is None else asked.label,
    )


def view(key: records.ApiKey) -> Key:
    own = {name: getattr(key, name) for name in Key.__struct_fields__ if name != "versions"}
    return Key(**own, versions=tuple(_view_version(version) for version in key.versions))


def _view_version(version: records.SecretVersion) -> KeyVersion:
    own = {name: getattr(version, name) for name in KeyVersion.__struct_fields__ if name != "public_key"}
    return KeyVersion(**own, public_key=None if version.public_key is None else version.public_key.hex())
