"""The gate in front of every operation that changes something: who else has to agree?

An operation checks its own permission and reach, and then passes the gate once, just before it acts:

    author = await self._gate.pass_(
        by,
        action="key.unfreeze",
        subject=key.id,
        environment=key.environment,
        partner=key.partner,
        change={"cidrs": ["192.0.2.0/24"]},
        facts=gate.Facts(granted=frozenset({"orders:write"})),
        standing=gate.Standing("key", key.id, key.revision),
        reason=reason,
    )
    return await self._custody.unfreeze_key(key.id, author=author)

`action` is one of `policies.actions.ALL`. `change` is all that is not said by action and subject, as JSON, without
secrets: what is not in it, an approval does not bind. `facts` is what rules may ask about; the environment is added
here, and what a key is granted becomes part of the change: a role that has grown since makes another change of it.
`standing` is the subject with its revision *as the operation has read it*: give it wherever the meaning of the change
rests on what the subject is now, and always for taking something back. Only `account`, `client`, `key`, `partner`,
`secret`, `webhook`, `route` and `environment` have one; a freeze that is not there stands at revision 0.

The answer is the author to act with. It carries what lets the change pass, which `Changes.begin` spends in the
transaction that it opens; so an operation of several transactions gives the others `author.going_on()`, and one that
opens none has spent nothing.

Invariant: what needs a second person raises `ApprovalNeeded`, and has then stored what is to be approved; an approval
that is shown is always spent, needed or not, so none stands in the ledger that was not given for just that, and it has
to have been given by whom the rules ask for now. Break-glass is used only by those who say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway.operations.operator import Operator
from keys import refusals
from keys.approval_records import Approval, Standing, Wanted
from keys.approvals import Approvals, Spending, UnknownApproval
from keys.break_glass import MARK, BreakGlass, BreakGlassClosed, ReasonMissing, UnderGlass
from keys.changes import Author
from policies import approvals as rules
from policies import control
from policies.document import Policies

__all__ = ["ApprovalNeeded", "Facts", "Gate", "Standing"]


class Facts(msgspec.Struct, frozen=True):
    """`granted`, `roles`: what a key or a client holds, or will hold."""

    granted: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()


NOTHING: Final = Facts()


class ApprovalNeeded(Exception):
    """Nothing was changed: the request `approval` waits for a second person, or has been approved and waits for use."""

    def __init__(self, approval: Approval) -> None:
        super().__init__(f"this needs a second person: {approval.id} is {approval.state}")
        self.approval = approval


class TwoWarrants(refusals.InvalidRequest):
    def __init__(self) -> None:
        super().__init__(
            "an approval and break-glass are shown together: it has to be said by which of them this is done"
        )


class Gate:
    def __init__(self, approvals: Approvals, break_glass: BreakGlass, policies: Policies) -> None:
        self._approvals = approvals
        self._break_glass = break_glass
        self._policies = policies

    async def pass_(  # noqa: PLR0913  what an act is, each by its name
        self,
        by: Operator,
        *,
        action: str,
        subject: str,
        environment: str | None = None,
        partner: str | None = None,
        change: Mapping[str, Any] | None = None,
        facts: Facts = NOTHING,
        standing: Standing | None = None,
        reason: str | None = None,
    ) -> Author:
        need = self._find_need(action, environment, facts)
        wanted = Wanted(
            action=action,
            subject=subject,
            environment=environment,
            partner=partner,
            # As it will be read back: JSON knows no tuples.
            change=msgspec.json.decode(msgspec.json.encode(_with_grants(change or {}, facts))),
            standing=standing,
        )
        author = by.author(reason)
        if by.approval is not None and by.under_glass:
            # Else one of them would stand in the ledger, and nobody could say whether it was the one that was meant.
            raise TwoWarrants
        if by.approval is not None:
            return await self._with_approval(by.approval, wanted, need, author)
        if by.under_glass:
            return await self._with_break_glass(by, author)
        if need is None:
            return author
        raise ApprovalNeeded(await self._request(by, wanted, need, author))

    def _find_need(self, action: str, environment: str | None, facts: Facts) -> rules.Need | None:
        trading = self._policies.is_trading(facts.granted)
        asked = rules.Facts(
            environment=environment, granted=facts.granted, trading=trading, roles=facts.roles
        )
        return self._policies.approvals.find_need(action, asked)

    async def _with_approval(
        self, approval_id: str, wanted: Wanted, need: rules.Need | None, author: Author
    ) -> Author:
        """Whether it is good for this is found out where it is spent, and nowhere before."""
        reason = author.reason
        if reason is None:
            reason = await self._find_reason(approval_id, author.actor)
        return msgspec.structs.replace(
            author,
            reason=reason,
            approval=approval_id,
            clearance=Spending(
                approval=approval_id,
                wanted=wanted,
                approvers=() if need is None else need.approvers,
                deciders=self._policies.approvals.deciders,
            ),
        )

    async def _find_reason(self, approval_id: str, asker: str) -> str | None:
        """Why they asked. That it is somebody else's, or nobody's, is told alike, and where it is spent."""
        try:
            found = await self._approvals.get(approval_id)
        except UnknownApproval:
            return None
        return found.reason if found.requested_by == asker else None

    async def _with_break_glass(self, by: Operator, author: Author) -> Author:
        by.require(control.BREAK_GLASS)
        by.require(control.ALL_PARTNERS)
        if author.reason is None:
            raise ReasonMissing
        glass = await self._break_glass.find_own(by.actor)
        if glass is None or by.glass not in {None, glass.id}:
            raise BreakGlassClosed
        return msgspec.structs.replace(author, approval=MARK + glass.id, clearance=UnderGlass(glass.id))

    async def _request(self, by: Operator, wanted: Wanted, need: rules.Need, author: Author) -> Approval:
        return await self._approvals.request(
            wanted,
            wait_ms=need.wait_ms,
            approvers=need.approvers,
            partner=None if by.reaches_all else by.partner,
            author=author,
        )


def _with_grants(change: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """Whoever approves sees what the key may do, and agrees to that."""
    return {**change, "grants": sorted(facts.granted)} if facts.granted else dict(change)
