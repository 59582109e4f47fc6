"""Custody: what operators do with partners and API keys.

Invariant: every change is atomic and audited (see `changes`); a secret is shown once, by the call that made
it, and is stored only sealed. Nothing that can fail, and no call to the KMS, stands between a commit and
its answer. Refuses: what `requests` finds wrong, what does not exist, and what its present state does not
allow.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from keys import api_keys, changing, partners, requests, rotations, thawing
from keys import format as key_format
from keys.api_key_secrets import ApiKeySecrets
from keys.changes import Author, Change, Changes, Clock
from keys.data_keys import DataKeys
from keys.kinds import Draft
from keys.records import (
    ApiKey,
    CreatedKey,
    KeyChange,
    KeyPage,
    KeyRequest,
    Partner,
    PartnerChange,
    SecretVersion,
)
from keys.versions import Material
from storage import engine

_FIRST_VERSION: Final = 1
_LONGEST_PAGE: Final = 500


class Custody:
    def __init__(
        self,
        engine_: AsyncEngine,
        data_keys: DataKeys,
        changes: Changes,
        clock: Clock,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._engine = engine_
        self._data_keys = data_keys
        self._changes = changes
        self._clock = clock
        self._entropy = entropy
        self._secrets = ApiKeySecrets(engine_, data_keys, entropy)

    async def create_partner(self, partner_id: str, name: str, tier: str, *, author: Author) -> Partner:
        requests.check_partner(partner_id, name, tier)
        async with self._changes.begin(author) as change:
            await partners.insert(change, partner_id, name, tier)
            await change.record(
                "partner.created", partner_id, partner=partner_id, details={"name": name, "tier": tier}
            )
            return await partners.get(change.conn, partner_id)

    async def list_partners(self) -> list[Partner]:
        async with engine.reading(self._engine) as conn:
            return await partners.list_all(conn)

    async def get_partner(self, partner_id: str) -> Partner:
        async with engine.reading(self._engine) as conn:
            return await partners.get(conn, partner_id)

    async def freeze_partner(self, partner_id: str, *, author: Author) -> Partner:
        async with self._changes.begin(author) as change:
            await partners.freeze(change, partner_id)
            await change.record("partner.frozen", partner_id, partner=partner_id)
            return await partners.get(change.conn, partner_id)

    async def unfreeze_partner(self, partner_id: str, *, author: Author) -> Partner:
        async with self._changes.begin(author) as change:
            await partners.unfreeze(change, partner_id)
            await change.record("partner.unfrozen", partner_id, partner=partner_id)
            return await partners.get(change.conn, partner_id)

    async def change_partner(self, seen: Partner, asked: PartnerChange, *, author: Author) -> Partner:
        """`seen` is what the change was decided on: refused when the partner is no longer that."""
        after = changing.change_partner(seen, asked)
        requests.check_partner(after.id, after.name, after.tier)
        async with self._changes.begin(author) as change:
            before = await partners.get_at(change.conn, seen.id, seen.revision)
            await partners.alter(change, seen.id, after.name, after.tier)
            await change.record(
                "partner.changed", seen.id, partner=seen.id, details=changing.describe(before, after)
            )
            return await partners.get(change.conn, seen.id)

    def check_request(self, request: KeyRequest) -> KeyRequest:
        """The request as it would be stored: what somebody else is to agree to."""
        return requests.check_key(request, self._clock())

    def check_change(self, seen: ApiKey, asked: KeyChange) -> ApiKey:
        """The key as it would be; nothing is stored."""
        return changing.change_key(seen, requests.check_key_change(asked, self._clock()))

    async def change_key(self, seen: ApiKey, asked: KeyChange, *, author: Author) -> ApiKey:
        """`seen` is what the change was decided on: refused when the key is no longer that."""
        after = self.check_change(seen, asked)
        async with self._changes.begin(author) as change:
            before = await api_keys.get_living_at(change.conn, seen.id, seen.revision)
            await api_keys.alter(change, before, after)
            details = changing.describe(before, after)
            return await _recorded(change, "api_key.changed", seen.id, details)

    async def create_key(self, request: KeyRequest, *, author: Author) -> CreatedKey:
        key = self._draft(request)
        draft = await self._draft_secret(key)
        async with self._changes.begin(author) as change:
            await partners.get(change.conn, key.partner)
            await api_keys.insert(change, key, draft.seal(_FIRST_VERSION))
            await _record_creation(change, key)
            key = msgspec.structs.replace(key, revision=change.revision)
        return CreatedKey(key=key, version=_FIRST_VERSION, secret=draft.shown)

    async def list_keys(
        self,
        *,
        partner: str | None = None,
        environment: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> KeyPage:
        size = max(1, min(limit, _LONGEST_PAGE))
        async with engine.reading(self._engine) as conn:
            found = await api_keys.list_page(
                conn, partner=partner, environment=environment, after=after, limit=size + 1
            )
        more = len(found) > size
        return KeyPage(keys=tuple(found[:size]), after=found[size - 1].id if more else None)

    async def get_key(self, key_id: str) -> ApiKey:
        async with engine.reading(self._engine) as conn:
            return await api_keys.get(conn, key_id)

    async def revoke_key(self, key_id: str, *, author: Author) -> ApiKey:
        """For good: every version of its secret with it."""
        async with self._changes.begin(author) as change:
            await rotations.revoke_whole(change, await api_keys.get_held(change, key_id), self._secrets)
            return await api_keys.get(change.conn, key_id)

    async def freeze_key(self, key_id: str, *, within: str | None = None, author: Author) -> ApiKey:
        """`within`: the partner that is all its author reaches. Whoever reaches all of them makes theirs what one of a
        partner had frozen.
        """
        async with self._changes.begin(author) as change:
            key = await api_keys.get(change.conn, key_id)
            is_theirs = within is None and await thawing.is_own_freeze(change.conn, key_id, key.partner)
            await api_keys.freeze(change, key_id, anew=is_theirs)
            return await _recorded(change, thawing.FROZEN, key_id, thawing.describe(within))

    async def require_thawable(self, key_id: str, *, within: str | None) -> None:
        """Before anybody is asked about it; `unfreeze_key` looks again."""
        async with engine.reading(self._engine) as conn:
            await thawing.require_thawable(conn, key_id, within)

    async def unfreeze_key(self, key_id: str, *, within: str | None = None, author: Author) -> ApiKey:
        """`within`: the partner that is all its author reaches."""
        async with self._changes.begin(author) as change:
            await api_keys.unfreeze(change, key_id)
            await thawing.require_thawable(change.conn, key_id, within)
            return await _recorded(change, thawing.UNFROZEN, key_id)

    def _draft(self, request: KeyRequest) -> ApiKey:
        now_ms = self._clock()
        checked = requests.check_key(request, now_ms)
        version = SecretVersion(
            version=_FIRST_VERSION,
            state="active",
            created_at=now_ms,
            activated_at=now_ms,
            public_key=checked.public_key,
        )
        return ApiKey(
            id=key_format.mint_key_id(checked.environment, self._entropy(key_format.KEY_ID_ENTROPY)),
            partner=checked.partner,
            environment=checked.environment,
            algorithm=checked.algorithm,
            roles=checked.roles,
            permissions=checked.permissions,
            cidrs=checked.cidrs,
            label=checked.label,
            expires_at=checked.expires_at,
            created_at=now_ms,
            versions=(version,),
        )

    async def _draft_secret(self, key: ApiKey) -> Draft:
        if key.algorithm == "hmac-sha256":
            return await self._secrets.mint(key.id, key.environment)
        return Draft(seal=lambda _: Material(public_key=key.versions[0].public_key))


async def _record_creation(change: Change, key: ApiKey) -> None:
    details = {
        "algorithm": key.algorithm,
        "roles": list(key.roles),
        "permissions": None if key.permissions is None else list(key.permissions),
        "cidrs": list(key.cidrs),
        "expires_at": key.expires_at,
        "label": key.label,
        "version": _FIRST_VERSION,
    }
    await change.record(
        "api_key.created", key.id, environment=key.environment, partner=key.partner, details=details
    )


async def _recorded(
    change: Change, action: str, key_id: str, details: Mapping[str, Any] | None = None
) -> ApiKey:
    key = await api_keys.get(change.conn, key_id)
    await change.record(action, key_id, environment=key.environment, partner=key.partner, details=details)
    return key
