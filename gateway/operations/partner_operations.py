"""What can be done with partners, the same for the command line and the control surface."""

from __future__ import annotations

from msgspec import UNSET

from gateway.operations.gate import Gate, Standing
from gateway.operations.operator import Operator
from keys import changing, partners
from keys.changes import Author
from keys.custody import Custody
from keys.records import Partner, PartnerChange
from policies import control
from policies.document import Policies


class PartnerOperations:
    def __init__(self, custody: Custody, policies: Policies, gate: Gate) -> None:
        self._custody = custody
        self._policies = policies
        self._gate = gate

    async def create(
        self, by: Operator, partner_id: str, name: str, tier: str, *, reason: str | None = None
    ) -> Partner:
        by.require(control.PARTNERS_WRITE)
        by.require(control.ALL_PARTNERS)
        by.require_environment("service")
        self._policies.get_tier(tier)
        author = await self._gate.pass_(
            by,
            action="partner.create",
            subject=partner_id,
            partner=partner_id,
            change={"name": name, "tier": tier},
            reason=reason,
        )
        return await self._custody.create_partner(partner_id, name, tier, author=author)

    async def find_all(self, by: Operator) -> list[Partner]:
        by.require(control.PARTNERS_READ)
        return [each for each in await self._custody.list_partners() if by.reaches(each.id)]

    async def get(self, by: Operator, partner_id: str) -> Partner:
        by.require(control.PARTNERS_READ)
        by.require_reach(partner_id)
        return await self._custody.get_partner(partner_id)

    async def change(
        self, by: Operator, partner_id: str, asked: PartnerChange, *, reason: str | None = None
    ) -> Partner:
        by.require(control.PARTNERS_WRITE)
        by.require(control.ALL_PARTNERS)
        by.require_environment("service")
        if asked.tier is not UNSET:
            self._policies.get_tier(asked.tier)
        seen = await self._custody.get_partner(partner_id)
        change = changing.describe(seen, changing.change_partner(seen, asked))
        author = await self._pass(by, "partner.change", seen, reason, change)
        return await self._custody.change_partner(seen, asked, author=author)

    async def freeze(self, by: Operator, partner_id: str, *, reason: str | None = None) -> Partner:
        by.require(control.FREEZE)
        by.require_reach(partner_id)
        by.require_environment("service")
        author = await self._pass(by, "partner.freeze", await self._custody.get_partner(partner_id), reason)
        return await self._custody.freeze_partner(partner_id, author=author)

    async def unfreeze(self, by: Operator, partner_id: str, *, reason: str | None = None) -> Partner:
        by.require(control.UNFREEZE)
        by.require(control.ALL_PARTNERS)
        by.require_environment("service")
        seen = await self._custody.get_partner(partner_id)
        if seen.frozen_at is None:
            # Nobody is asked to approve what could not be done.
            raise partners.PartnerNotFrozen(partner_id)
        author = await self._pass(by, "partner.unfreeze", seen, reason)
        return await self._custody.unfreeze_partner(partner_id, author=author)

    async def _pass(
        self,
        by: Operator,
        action: str,
        seen: Partner,
        reason: str | None,
        change: dict[str, dict[str, object]] | None = None,
    ) -> Author:
        return await self._gate.pass_(
            by,
            action=action,
            subject=seen.id,
            partner=seen.id,
            change=change,
            standing=Standing("partner", seen.id, seen.revision),
            reason=reason,
        )
