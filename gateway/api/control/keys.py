"""API keys: making them, looking at them, and ending or suspending them.

Invariant: a new secret stands in one answer, that to the request which made it. The same request repeated under its
idempotency key is told which key it made, and no more. When a key was last used is not told here: it changes without
the key being changed, so an `ETag` could not speak for it.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

from litestar import Controller
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from gateway.api.control import types
from gateway.api.control.call import Call, Reply
from gateway.api.control.endpoint import endpoint
from gateway.api.control.rules import PREFIX, Rule
from gateway.operations import Operator
from keys import api_keys, records
from keys.environment import Environment
from policies import control

TAG: Final = "keys"


class KeyCreation(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`permissions` narrows what the roles grant; null leaves it as it is."""

    partner: types.PartnerId
    environment: Environment
    algorithm: records.Algorithm
    roles: Annotated[tuple[types.Name, ...], Meta(min_length=1, max_length=64)]
    public_key: types.PublicKey | None = None
    permissions: Annotated[tuple[types.Permission, ...], Meta(max_length=64)] | None = None
    cidrs: Annotated[tuple[types.Cidr, ...], Meta(max_length=64)] = ()
    expires_at: types.Moment | None = None
    label: types.Text = ""
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
_SAMPLE_FROZEN: Final = structs.replace(SAMPLE, frozen_at=1_763_596_900_000, frozen_reason="a test of ours")
_SAMPLE_REVOKED: Final = structs.replace(
    SAMPLE, revoked_at=1_763_596_900_000, revoked_reason="found in a public repository"
)
_SAMPLE_CREATION: Final = KeyCreation(
    partner="acme",
    environment="paper",
    algorithm="hmac-sha256",
    roles=("trader",),
    cidrs=("203.0.113.0/24",),
    label="order router",
)
_SAMPLE_MADE: Final = MadeKey(key=SAMPLE, version=1, secret="prs_paper_…", secret_shown=False)  # noqa: S106  no secret


class KeyController(Controller):
    path = PREFIX

    @endpoint(
        Rule(
            id="list_keys",
            method="GET",
            path="/keys",
            tag=TAG,
            summary="List keys, oldest first",
            permission=control.KEYS_READ,
            reach="listed",
            query=KeyQuery,
            answer=KeyList,
            refuses=("not_found",),
            sample=SAMPLE_LIST,
        )
    )
    async def list_keys(self, call: Call) -> Reply:
        query: KeyQuery = call.query
        return await list_keys(
            call, partner=types.given(query.partner), environment=types.given(query.environment)
        )

    @endpoint(
        Rule(
            id="create_key",
            method="POST",
            path="/keys",
            tag=TAG,
            summary="Make a key",
            description="The answer shows the secret of an hmac-sha256 key, this once. With the same Idempotency-Key"
            " the same request answers with the same key for a day, with `secret: null` and `secret_shown: true`.",
            permission=control.KEYS_WRITE,
            reach="own",
            environment="subject",
            body=KeyCreation,
            answer=MadeKey,
            status=201,
            settles="api_key.created",
            refuses=("not_found", "kms_unavailable"),
            sample_body=_SAMPLE_CREATION,
            sample=_SAMPLE_MADE,
        )
    )
    async def create_key(self, call: Call) -> Reply:
        asked: KeyCreation = call.body

        async def make(by: Operator) -> Reply:
            made = await call.operations.keys.create(by, _request(asked), reason=asked.reason)
            secret = None if made.secret is None else made.secret.reveal()
            return _made(made.key, made.version, secret, shown=False)

        async def again(by: Operator, key_id: str) -> Reply:
            key = await call.operations.keys.get(by.with_permission(control.KEYS_READ), key_id)
            return _made(key, key.versions[0].version, None, shown=key.algorithm == "hmac-sha256")

        return await call.once(make, again)

    @endpoint(
        Rule(
            id="get_key",
            method="GET",
            path="/keys/{key_id}",
            tag=TAG,
            summary="Look at one key",
            permission=control.KEYS_READ,
            reach="own",
            answer=Key,
            sample=SAMPLE,
        )
    )
    async def get_key(self, call: Call) -> Reply:
        return _one(await call.operations.keys.get(call.operator, call.parameters["key_id"]))

    @endpoint(
        Rule(
            id="revoke_key",
            method="POST",
            path="/keys/{key_id}/revoke",
            tag=TAG,
            summary="Refuse a key for good",
            permission=control.KEYS_REVOKE,
            reach="own",
            environment="subject",
            body=types.Why,
            answer=Key,
            conditional=True,
            sample_body=types.Why(reason="found in a public repository"),
            sample=_SAMPLE_REVOKED,
        )
    )
    async def revoke_key(self, call: Call) -> Reply:
        key_id = call.parameters["key_id"]
        by = call.if_unchanged(partial(api_keys.find_revision, key_id=key_id))
        return _one(await call.operations.keys.revoke(by, key_id, reason=call.body.reason))

    @endpoint(
        Rule(
            id="freeze_key",
            method="POST",
            path="/keys/{key_id}/freeze",
            tag=TAG,
            summary="Refuse a key until it is unfrozen",
            permission=control.FREEZE,
            reach="own",
            environment="subject",
            body=types.Why,
            answer=Key,
            conditional=True,
            sample_body=types.Why(reason="a test of ours"),
            sample=_SAMPLE_FROZEN,
        )
    )
    async def freeze_key(self, call: Call) -> Reply:
        key_id = call.parameters["key_id"]
        by = call.if_unchanged(partial(api_keys.find_revision, key_id=key_id))
        return _one(await call.operations.keys.freeze(by, key_id, reason=call.body.reason))

    @endpoint(
        Rule(
            id="unfreeze_key",
            method="POST",
            path="/keys/{key_id}/unfreeze",
            tag=TAG,
            summary="Let a frozen key work again",
            permission=control.UNFREEZE,
            reach="own",
            environment="subject",
            body=types.Why,
            answer=Key,
            conditional=True,
            sample_body=types.Why(reason="the test is over"),
            sample=SAMPLE,
        )
    )
    async def unfreeze_key(self, call: Call) -> Reply:
        key_id = call.parameters["key_id"]
        by = call.if_unchanged(partial(api_keys.find_revision, key_id=key_id))
        return _one(await call.operations.keys.unfreeze(by, key_id, reason=call.body.reason))


async def list_keys(call: Call, *, partner: str | None, environment: str | None) -> Reply:
    after = call.position(str)
    try:
        page = await call.operations.keys.find_page(
            call.operator, partner=partner, environment=environment, after=after, limit=call.query.limit
        )
    except api_keys.UnknownKey:
        raise call.refuse_cursor() from None
    following = call.next(page.after)
    return Reply(KeyList(items=tuple(_view(key) for key in page.keys), next=following), next=following)


def _request(asked: KeyCreation) -> records.KeyRequest:
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


def _view(key: records.ApiKey) -> Key:
    own = {name: getattr(key, name) for name in Key.__struct_fields__ if name != "versions"}
    return Key(**own, versions=tuple(_view_version(version) for version in key.versions))


def _view_version(version: records.SecretVersion) -> KeyVersion:
    own = {name: getattr(version, name) for name in KeyVersion.__struct_fields__ if name != "public_key"}
    return KeyVersion(**own, public_key=None if version.public_key is None else version.public_key.hex())


def _one(key: records.ApiKey) -> Reply:
    return Reply(_view(key), revision=key.revision)


def _made(key: records.ApiKey, version: int, secret: str | None, *, shown: bool) -> Reply:
    view = MadeKey(key=_view(key), version=version, secret=secret, secret_shown=shown)
    return Reply(view, revision=key.revision, location=f"{PREFIX}/keys/{key.id}")
