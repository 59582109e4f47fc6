"""Clearances of operations that are more than one change: see `changes.Clearance`.

Invariant: of an operation in many transactions each one is cleared for itself, so whoever is killed in the middle goes
on with the same approval, until it expires, and towards the same goal only. None is cleared once anybody else has moved
what was agreed on: since it was asked for, nothing but the operation's own steps may have changed it. So an approval
that has been used never does anything anew. Refuses: everybody but whoever asked; and to go on once the rules ask for
others than had to agree, or whoever agreed has been stopped.
"""

from typing import Final

import msgspec
import sqlalchemy as sa

from keys import approval_rows
from keys.approval_records import Approval, Standing
from keys.approvals import Spending, SubjectMoved, UnknownApproval
from keys.changes import Change, Clearance
from storage import schema

_LEDGER: Final = schema.audit_events


class InSteps(msgspec.Struct, frozen=True, kw_only=True):
    """`spending`: what the first step does. `goal`: the members of the change that the operation does not move itself,
    and that are the same in every step. `moving`: the acts, by their names in the ledger, that move what was agreed on.
    """

    spending: Spending
    goal: frozenset[str]
    moving: frozenset[str]

    async def spend(self, change: Change) -> None:
        found = await approval_rows.get(change.conn, self.spending.approval)
        if found.requested_by != change.author.actor:
            raise UnknownApproval(self.spending.approval)
        if found.expires_at > await change.now() and self._goes_on(found):
            await self.spending.require_decider(change)
        else:
            await self.spending.spend(change)
        await self._require_undisturbed(change)

    def _goes_on(self, found: Approval) -> bool:
        wanted = self.spending.wanted
        return (found.state, found.action, found.subject) == ("used", wanted.action, wanted.subject) and all(
            found.change.get(name) == wanted.change.get(name) for name in self.goal
        )

    async def _require_undisturbed(self, change: Change) -> None:
        asked = (
            sa.select(_LEDGER.c.seq)
            .where(_LEDGER.c.subject == self.spending.approval, _LEDGER.c.action == "approval.requested")
            .scalar_subquery()
        )
        by_others = sa.select(_LEDGER.c.seq).where(
            _LEDGER.c.action.in_(self.moving),
            _LEDGER.c.seq > asked,
            sa.or_(_LEDGER.c.approval.is_(None), _LEDGER.c.approval != self.spending.approval),
        )
        if (await change.conn.execute(by_others.limit(1))).first() is not None:
            raise SubjectMoved(self.spending.wanted.subject)


class Unmoved(msgspec.Struct, frozen=True):
    """One of several subjects that were agreed on together, as it was seen; `then` is asked as well."""

    standing: Standing
    then: Clearance | None

    async def spend(self, change: Change) -> None:
        if await approval_rows.find_revision(change.conn, self.standing) != self.standing.revision:
            raise SubjectMoved(self.standing.name)
        if self.then is not None:
            await self.then.spend(change)
