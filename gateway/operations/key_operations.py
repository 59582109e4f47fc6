"""What can be done with API keys, the same for the command line and the control surface.

Invariant: nobody hands out a control permission that they do not hold themselves, and what belongs to a partner out
of reach is unknown.
"""

from __future__ import annotations

from gateway.operations.operator import Operator, PermissionMissing
from keys import api_keys
from keys.custody import Custody
from keys.records import ApiKey, CreatedKey, KeyPage, KeyRequest
from policies import control
from policies.document import Policies


class KeyOperations:
    def __init__(self, custody: Custody, policies: Policies) -> None:
        self._custody = custody
        self._policies = policies

    async def create(self, by: Operator, request: KeyRequest, *, reason: str | None = None) -> CreatedKey:
        by.require(control.KEYS_WRITE)
        by.require_reach(request.partner)
        by.require_environment(request.environment)
        self._require_grantable(by, request)
        return await self._custody.create_key(request, author=by.author(reason))

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
        if partner is not None:
            by.require_reach(partner)
        elif not by.reaches_all:
            partner = by.partner
        return await self._custody.list_keys(
            partner=partner, environment=environment, after=after, limit=limit
        )

    async def get(self, by: Operator, key_id: str) -> ApiKey:
        by.require(control.KEYS_READ)
        return await self._get_reached(by, key_id)

    async def revoke(self, by: Operator, key_id: str, *, reason: str | None = None) -> ApiKey:
        by.require(control.KEYS_REVOKE)
        await self._get_own(by, key_id)
        return await self._custody.revoke_key(key_id, author=by.author(reason))

    async def freeze(self, by: Operator, key_id: str, *, reason: str | None = None) -> ApiKey:
        by.require(control.FREEZE)
        await self._get_own(by, key_id)
        return await self._custody.freeze_key(key_id, author=by.author(reason))

    async def unfreeze(self, by: Operator, key_id: str, *, reason: str | None = None) -> ApiKey:
        by.require(control.UNFREEZE)
        await self._get_own(by, key_id)
        return await self._custody.unfreeze_key(key_id, author=by.author(reason))

    async def _get_own(self, by: Operator, key_id: str) -> ApiKey:
        key = await self._get_reached(by, key_id)
        by.require_environment(key.environment)
        return key

    async def _get_reached(self, by: Operator, key_id: str) -> ApiKey:
        key = await self._custody.get_key(key_id)
        if not by.reaches(key.partner):
            raise api_keys.UnknownKey(key_id)
        return key

    def _require_grantable(self, by: Operator, request: KeyRequest) -> None:
        for role in request.roles:
            self._policies.get_role(role)
        self._policies.check_narrowing(request.roles, request.permissions or ())
        granted = self._policies.permissions_of(request.roles, request.permissions)
        for permission in sorted(granted):
            if permission.startswith(control.SCOPE) and permission not in by.permissions:
                raise PermissionMissing(permission)
