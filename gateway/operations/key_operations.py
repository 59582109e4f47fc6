"""What can be done with API keys, the same for the command line and the control surface.

Invariant: nobody hands out a control permission that they do not hold themselves, be it to a secret that somebody was
shown before; and what belongs to a partner out of reach is unknown. Whoever reaches one partner alone takes back no
freeze of those who reach all.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gateway.operations.gate import Facts, Gate, Standing
from gateway.operations.operator import Operator, PermissionMissing
from keys import api_keys, changing, refusals, rotation
from keys.changes import Author
from keys.custody import Custody
from keys.records import ApiKey, CreatedKey, KeyChange, KeyPage, KeyRequest
from policies import control
from policies.document import Policies

_HANDING_OUT: Final = frozenset({"roles", "permissions"})


class VersionWaits(refusals.Conflict):
    """Whoever prepared it was shown it, for a key that could less; it begins to serve without anybody being asked."""

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"a version of {key_id} is prepared: activate or revoke it before the key is given more to do"
        )


class KeyOperations:
    def __init__(self, custody: Custody, policies: Policies, gate: Gate) -> None:
        self._custody = custody
        self._policies = policies
        self._gate = gate

    async def create(self, by: Operator, request: KeyRequest, *, reason: str | None = None) -> CreatedKey:
        by.require(control.KEYS_WRITE)
        by.require_reach(request.partner)
        by.require_environment(request.environment)
        granted = self._get_grantable(by, request.roles, request.permissions)
        # As it would be stored, so that one wish has one spelling.
        asked = self._custody.check_request(request)
        await self._custody.get_partner(asked.partner)
        author = await self._gate.pass_(
            by,
            action="key.create",
            subject=asked.partner,
            environment=asked.environment,
            partner=asked.partner,
            change=_describe(asked),
            facts=Facts(granted=granted, roles=frozenset(asked.roles)),
            reason=reason,
        )
        return await self._custody.create_key(asked, author=author)

    async def change(
        self, by: Operator, key_id: str, asked: KeyChange, *, reason: str | None = None
    ) -> ApiKey:
        by.require(control.KEYS_WRITE)
        seen = await self._get_own(by, key_id)
        if seen.revoked_at is not None:
            raise api_keys.AlreadyRevoked(key_id)
        after = self._custody.check_change(seen, asked)
        self._get_grantable(by, after.roles, after.permissions)
        widened = changing.find_widenings(seen, after)
        if not _HANDING_OUT.isdisjoint(widened) and rotation.find_pending(seen.versions) is not None:
            raise VersionWaits(key_id)
        change = {**changing.describe(seen, after), "widened": list(widened)}
        author = await self._pass(by, "key.widen" if widened else "key.change", after, reason, change=change)
        return await self._custody.change_key(seen, asked, author=author)

    async def find_page(
        self,
        by: Operator,
        *,
        partner: str | None = None,
        environment: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> KeyPage:
        by.require(control.KEYS_READ)
        narrowed = by.narrow(partner)
        if after is not None:
            # Where a page begins tells whether that key is there, so it has to be one that they may see.
            await self._get_reached(by, after)
        return await self._custody.list_keys(
            partner=narrowed, environment=environment, after=after, limit=limit
        )

    async def get(self, by: Operator, key_id: str) -> ApiKey:
        by.require(control.KEYS_READ)
        return await self._get_reached(by, key_id)

    async def revoke(self, by: Operator, key_id: str, *, reason: str | None = None) -> ApiKey:
        by.require(control.KEYS_REVOKE)
        author = await self._pass(by, "key.revoke", await self._get_own(by, key_id), reason)
        return await self._custody.revoke_key(key_id, author=author)

    async def freeze(self, by: Operator, key_id: str, *, reason: str | None = None) -> ApiKey:
        by.require(control.FREEZE)
        author = await self._pass(by, "key.freeze", await self._get_own(by, key_id), reason)
        return await self._custody.freeze_key(key_id, within=by.within, author=author)

    async def unfreeze(self, by: Operator, key_id: str, *, reason: str | None = None) -> ApiKey:
        by.require(control.UNFREEZE)
        key = await self._get_own(by, key_id)
        if key.revoked_at is not None:
            raise api_keys.AlreadyRevoked(key_id)
        if key.frozen_at is None:
            # Nobody is asked to approve what could not be done.
            raise api_keys.KeyNotFrozen(key_id)
        await self._custody.require_thawable(key_id, within=by.within)
        author = await self._pass(by, "key.unfreeze", key, reason)
        return await self._custody.unfreeze_key(key_id, within=by.within, author=author)

    async def _pass(
        self,
        by: Operator,
        action: str,
        key: ApiKey,
        reason: str | None,
        *,
        change: dict[str, Any] | None = None,
    ) -> Author:
        return await self._gate.pass_(
            by,
            action=action,
            subject=key.id,
            environment=key.environment,
            partner=key.partner,
            change=change,
            facts=Facts(
                granted=self._policies.permissions_of(key.roles, key.permissions), roles=frozenset(key.roles)
            ),
            standing=Standing("key", key.id, key.revision),
            reason=reason,
        )

    async def _get_own(self, by: Operator, key_id: str) -> ApiKey:
        key = await self._get_reached(by, key_id)
        by.require_environment(key.environment)
        return key

    async def _get_reached(self, by: Operator, key_id: str) -> ApiKey:
        key = await self._custody.get_key(key_id)
        if not by.reaches(key.partner):
            raise api_keys.UnknownKey(key_id)
        return key

    def _get_grantable(
        self, by: Operator, roles: tuple[str, ...], permissions: tuple[str, ...] | None
    ) -> frozenset[str]:
        for role in roles:
            self._policies.get_role(role)
        self._policies.check_narrowing(roles, permissions or ())
        granted = self._policies.permissions_of(roles, permissions)
        for permission in sorted(granted):
            if permission.startswith(control.SCOPE) and permission not in by.permissions:
                raise PermissionMissing(permission)
        return granted


def _describe(asked: KeyRequest) -> dict[str, Any]:
    described: dict[str, Any] = msgspec.structs.asdict(asked)
    described["public_key"] = None if asked.public_key is None else asked.public_key.hex()
    return described
