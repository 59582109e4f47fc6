"""What can be done with partners, the same for the command line and the control surface."""

from __future__ import annotations

from gateway.operations.operator import Operator
from keys.custody import Custody
from keys.records import Partner
from policies import control
from policies.document import Policies


class PartnerOperations:
    def __init__(self, custody: Custody, policies: Policies) -> None:
        self._custody = custody
        self._policies = policies

    async def create(
        self, by: Operator, partner_id: str, name: str, tier: str, *, reason: str | None = None
    ) -> Partner:
        by.require(control.PARTNERS_WRITE)
        by.require(control.ALL_PARTNERS)
        by.require_environment("service")
        self._policies.get_tier(tier)
        return await self._custody.create_partner(partner_id, name, tier, author=by.author(reason))

    async def find_all(self, by: Operator) -> list[Partner]:
        by.require(control.PARTNERS_READ)
        return [each for each in await self._custody.list_partners() if by.reaches(each.id)]

    async def get(self, by: Operator, partner_id: str) -> Partner:
        by.require(control.PARTNERS_READ)
        by.require_reach(partner_id)
        return await self._custody.get_partner(partner_id)

    async def freeze(self, by: Operator, partner_id: str, *, reason: str | None = None) -> Partner:
        by.require(control.FREEZE)
        by.require_reach(partner_id)
        by.require_environment("service")
        return await self._custody.freeze_partner(partner_id, author=by.author(reason))

    async def unfreeze(self, by: Operator, partner_id: str, *, reason: str | None = None) -> Partner:
        by.require(control.UNFREEZE)
        by.require(control.ALL_PARTNERS)
        by.require_environment("service")
        return await self._custody.unfreeze_partner(partner_id, author=by.author(reason))
