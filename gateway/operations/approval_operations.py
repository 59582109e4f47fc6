"""What can be done with requests for a second person.

Invariant: whoever decides could reach what it is about, and reaches at least as far as whoever asked; to anybody else
the request does not exist. Whoever asked sees their own.
"""

from __future__ import annotations

from gateway.operations.operator import Operator, RoleMissing
from keys.approval_records import Approval
from keys.approvals import ApprovalPage, Approvals, UnknownApproval
from policies import control


class ApprovalOperations:
    def __init__(self, approvals: Approvals) -> None:
        self._approvals = approvals

    async def find_page(
        self, by: Operator, *, only_open: bool = False, after: str | None = None, limit: int = 100
    ) -> ApprovalPage:
        by.require(control.APPROVALS_READ)
        partner = None
        if not by.reaches_all:
            if by.partner is None:
                return ApprovalPage(approvals=(), after=None)
            partner = by.partner
        if after is not None:
            await self._get_reached(by, after)
        return await self._approvals.find_page(partner=partner, only_open=only_open, after=after, limit=limit)

    async def get(self, by: Operator, approval_id: str) -> Approval:
        by.require(control.APPROVALS_READ)
        found = await self._approvals.get(approval_id)
        if not (by.reaches(found.partner) or found.requested_by == by.actor):
            raise UnknownApproval(approval_id)
        return found

    async def approve(self, by: Operator, approval_id: str, *, reason: str | None = None) -> Approval:
        await self._require_decider(by, approval_id)
        return await self._approvals.approve(approval_id, author=by.author(reason))

    async def refuse(self, by: Operator, approval_id: str, *, reason: str | None = None) -> Approval:
        await self._require_decider(by, approval_id)
        return await self._approvals.refuse(approval_id, author=by.author(reason))

    async def withdraw(self, by: Operator, approval_id: str, *, reason: str | None = None) -> Approval:
        """Only whoever asked; no permission is needed to want something no longer."""
        return await self._approvals.withdraw(approval_id, author=by.author(reason))

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
