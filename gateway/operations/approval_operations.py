"""What can be done with requests for a second person.

Invariant: whoever decides could reach what it is about, and reaches at least as far as whoever asked; to anybody else
the request does not exist. Where the policies say so, only a key decides. Whoever asked sees their own. Whoever reaches
one partner alone is told of anybody else's part in it no more than that it was somebody else.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.operations import veil
from gateway.operations.operator import Operator, RoleMissing
from keys.approval_records import Approval, Wished
from keys.approvals import ApprovalPage, Approvals, UnknownApproval
from policies import control
from policies.document import Policies
from storage import engine


class ApprovalOperations:
    def __init__(self, engine_: AsyncEngine, approvals: Approvals, policies: Policies) -> None:
        self._engine = engine_
        self._policies = policies
        self._approvals = approvals

    async def find_page(
        self, by: Operator, *, state: Wished | None = None, after: str | None = None, limit: int = 100
    ) -> ApprovalPage:
        """Newest first. Who belongs to a partner is shown what is about that partner."""
        by.require(control.APPROVALS_READ)
        partner = None
        if not by.reaches_all:
            if by.partner is None:
                return ApprovalPage(approvals=(), after=None)
            partner = by.partner
        if after is not None:
            await self._get_reached(by, after)
        page = await self._approvals.find_page(partner=partner, state=state, after=after, limit=limit)
        return ApprovalPage(approvals=await self._shown(by, page.approvals), after=page.after)

    async def get(self, by: Operator, approval_id: str) -> Approval:
        by.require(control.APPROVALS_READ)
        found = await self._approvals.get(approval_id)
        if not (by.reaches(found.partner) or found.requested_by == by.actor):
            raise UnknownApproval(approval_id)
        return await self._one(by, found)

    async def approve(self, by: Operator, approval_id: str, *, reason: str | None = None) -> Approval:
        await self._require_decider(by, approval_id)
        decided = await self._approvals.approve(
            approval_id, deciders=self._policies.approvals.deciders, author=by.author(reason)
        )
        return await self._one(by, decided)

    async def refuse(self, by: Operator, approval_id: str, *, reason: str | None = None) -> Approval:
        await self._require_decider(by, approval_id)
        decided = await self._approvals.refuse(
            approval_id, deciders=self._policies.approvals.deciders, author=by.author(reason)
        )
        return await self._one(by, decided)

    async def withdraw(self, by: Operator, approval_id: str, *, reason: str | None = None) -> Approval:
        """Only whoever asked; no permission is needed to want something no longer."""
        return await self._one(by, await self._approvals.withdraw(approval_id, author=by.author(reason)))

    async def _one(self, by: Operator, found: Approval) -> Approval:
        return (await self._shown(by, (found,)))[0]

    async def _shown(self, by: Operator, found: tuple[Approval, ...]) -> tuple[Approval, ...]:
        if by.reaches_all:
            return found
        named = {who for each in found for who in (each.requested_by, each.decided_by)}
        async with engine.reading(self._engine) as conn:
            own = await veil.find_own_actors(conn, by, named)
        return tuple(_veiled(each, own) for each in found)

    async def _require_decider(self, by: Operator, approval_id: str) -> None:
        by.require(control.APPROVE)
        found = await self._get_reached(by, approval_id)
        if found.requester_partner is None and not by.reaches_all:
            # A partner does not let pass what the gateway's own operators want to have seen by a colleague.
            raise UnknownApproval(approval_id)
        by.require_environment(found.environment or "service")
        for roles in found.approvers:
            if not by.has_role(roles):
                raise RoleMissing(roles)

    async def _get_reached(self, by: Operator, approval_id: str) -> Approval:
        found = await self._approvals.get(approval_id)
        if not by.reaches(found.partner):
            raise UnknownApproval(approval_id)
        return found


def _veiled(approval: Approval, own: Collection[str]) -> Approval:
    decided_by = approval.decided_by
    return msgspec.structs.replace(
        approval,
        requested_by=approval.requested_by if approval.requested_by in own else veil.SOMEBODY_ELSE,
        decided_by=decided_by if decided_by is None or decided_by in own else veil.SOMEBODY_ELSE,
    )
