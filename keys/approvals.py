"""Four eyes: a change is asked for by one person, agreed to by another, and made by the first, once.

Invariant: nobody decides what they, or a key that they made alone, asked for. An approval lets pass exactly the change
that it was given for, on the subject as it stood, by whoever asked, until it expires, once: it is marked as used in
the transaction that makes the change, so neither a crash nor a race can use it twice or lose it. Each step is in the
ledger. Refuses: what a key has approved that was stopped since, and more waiting requests of one person than anybody
could look at.
"""

import base64
from collections.abc import Callable
from typing import Final, Literal

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keys import approval_rows as rows
from keys import identities, refusals
from keys.approval_records import PREFIX, Approval, Standing, Wanted, Wished
from keys.approval_rows import UnknownApproval
from keys.changes import Author, Change, Changes, Clock
from storage import engine

__all__ = ["ApprovalPage", "Approvals", "Spending", "UnknownApproval"]

ID_ENTROPY: Final = 10
_MOST_PENDING: Final = 100
_LONGEST_PAGE: Final = 500


class TooManyPending(refusals.Conflict):
    def __init__(self) -> None:
        super().__init__(f"{_MOST_PENDING} requests of yours wait for a second person: withdraw some")


class SelfApproval(refusals.Conflict):
    def __init__(self, approval_id: str) -> None:
        super().__init__(f"{approval_id} was asked for by yourself, or by a key that one of you made alone")


class ApprovalClosed(refusals.Conflict):
    """It can be decided, withdrawn or used no more, or not yet."""

    def __init__(self, approval: Approval) -> None:
        super().__init__(f"{approval.id} is {approval.state}")
        self.state = approval.state


class ChangeAltered(refusals.Conflict):
    def __init__(self, approval_id: str) -> None:
        super().__init__(f"{approval_id} was given for another change than this one")


class SubjectMoved(refusals.Conflict):
    def __init__(self, subject: str) -> None:
        super().__init__(f"{subject!r:.80} has been changed since this was asked for: ask again")


class RulesTightened(refusals.Conflict):
    def __init__(self, approval_id: str) -> None:
        super().__init__(
            f"{approval_id} was given when the rules asked for others: withdraw it, and ask again"
        )


class DeciderStopped(refusals.Conflict):
    def __init__(self, approval_id: str) -> None:
        super().__init__(
            f"the key that approved {approval_id} is frozen or revoked: withdraw it, and ask again"
        )


class ApprovalPage(msgspec.Struct, frozen=True, kw_only=True):
    """`after` is what the next page is asked with; None when this is the last."""

    approvals: tuple[Approval, ...]
    after: str | None


class Spending(msgspec.Struct, frozen=True, kw_only=True):
    """The clearance of a change that a second person has agreed to: see `changes.Clearance`.

    `approvers`: whom the rules ask for as they are now.
    """

    approval: str
    wanted: Wanted
    approvers: tuple[tuple[str, ...], ...] = ()

    async def spend(self, change: Change) -> None:
        standing, digest = self.wanted.standing, self.wanted.digest()
        if standing is not None:
            await _require_unmoved(change.conn, standing)
        if not await rows.mark_used(change.conn, self.approval, digest, change.author.actor, change.at):
            await self._refuse(change)
        await self.require_decider(change)
        await change.record(
            "approval.used",
            self.approval,
            environment=self.wanted.environment,
            partner=self.wanted.partner,
            details={"action": self.wanted.action, "subject": self.wanted.subject, "digest": digest},
        )

    async def require_decider(self, change: Change) -> None:
        """Whoever decided had a role of each list that was asked for then; which one is not known any more."""
        found = await rows.get(change.conn, self.approval)
        if not all(any(set(then) <= set(now) for then in found.approvers) for now in self.approvers):
            raise RulesTightened(self.approval)
        if found.decided_by is not None and await rows.is_stopped(change.conn, found.decided_by):
            raise DeciderStopped(self.approval)

    async def _refuse(self, change: Change) -> None:
        found = (await rows.get(change.conn, self.approval)).seen_at(change.at)
        if found.requested_by != change.author.actor:
            raise UnknownApproval(self.approval)
        if found.state != "approved":
            raise ApprovalClosed(found)
        standing = self.wanted.standing
        same = (found.action, found.subject) == (self.wanted.action, self.wanted.subject)
        if same and standing is not None and found.subject_revision != standing.revision:
            raise SubjectMoved(self.wanted.subject)
        raise ChangeAltered(self.approval)


class Approvals:
    def __init__(
        self, engine_: AsyncEngine, changes: Changes, clock: Clock, entropy: Callable[[int], bytes]
    ) -> None:
        self._engine = engine_
        self._changes = changes
        self._clock = clock
        self._entropy = entropy

    async def request(
        self,
        wanted: Wanted,
        *,
        wait_ms: int,
        approvers: tuple[tuple[str, ...], ...] = (),
        partner: str | None = None,
        author: Author,
    ) -> Approval:
        """Whoever asks for the same again, while it waits, is given the same request.

        `partner`: the one that whoever asks belongs to, if they reach no other.
        """
        async with self._changes.begin(author) as change:
            found = await rows.find_open(change.conn, wanted.digest(), author.actor, change.at)
            if found is not None:
                change.abandon()
                return found
            if await rows.count_pending(change.conn, author.actor, change.at) >= _MOST_PENDING:
                raise TooManyPending
            approval = self._draft(wanted, change, change.at + wait_ms, approvers, partner)
            await rows.insert(change.conn, approval)
            details = {"change": wanted.change, "digest": approval.digest, "expires_at": approval.expires_at}
            await _record(change, "approval.requested", approval, details)
        return approval

    async def get(self, approval_id: str) -> Approval:
        async with engine.reading(self._engine) as conn:
            return (await rows.get(conn, approval_id)).seen_at(self._clock())

    async def find_page(
        self,
        *,
        partner: str | None = None,
        state: Wished | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> ApprovalPage:
        """Newest first."""
        size, now_ms = max(1, min(limit, _LONGEST_PAGE)), self._clock()
        async with engine.reading(self._engine) as conn:
            found = await rows.list_page(
                conn, now_ms, partner=partner, state=state, after=after, limit=size + 1
            )
        shown = tuple(approval.seen_at(now_ms) for approval in found[:size])
        return ApprovalPage(approvals=shown, after=shown[-1].id if len(found) > size else None)

    async def approve(self, approval_id: str, *, author: Author) -> Approval:
        return await self._decide(approval_id, "approved", author)

    async def refuse(self, approval_id: str, *, author: Author) -> Approval:
        return await self._decide(approval_id, "refused", author)

    async def withdraw(self, approval_id: str, *, author: Author) -> Approval:
        """By whoever asked; also when it has been approved and is not needed any more."""
        async with self._changes.begin(author) as change:
            # Whose it is comes first: to anybody else not even its state is told.
            if (await rows.get(change.conn, approval_id)).requested_by != author.actor:
                raise UnknownApproval(approval_id)
            found = await _get_open(change, approval_id, ("pending", "approved"))
            await rows.settle(change.conn, approval_id, state="withdrawn")
            await _record(change, "approval.withdrawn", found, {})
            return await rows.get(change.conn, approval_id)

    async def _decide(
        self, approval_id: str, state: Literal["approved", "refused"], author: Author
    ) -> Approval:
        async with self._changes.begin(author) as change:
            found = await _get_open(change, approval_id, ("pending",))
            if await identities.may_be_one_mind(change.conn, found.requested_by, author.actor):
                raise SelfApproval(approval_id)
            await rows.settle(
                change.conn,
                approval_id,
                state=state,
                decided_by=author.actor,
                decided_at=change.at,
                decision_reason=author.reason,
            )
            await _record(change, f"approval.{state}", found, {"requested_by": found.requested_by})
            return await rows.get(change.conn, approval_id)

    def _draft(
        self,
        wanted: Wanted,
        change: Change,
        expires_at: int,
        approvers: tuple[tuple[str, ...], ...],
        partner: str | None,
    ) -> Approval:
        written = base64.b32encode(self._entropy(ID_ENTROPY)).decode().lower()
        return Approval(
            id=PREFIX + written,
            action=wanted.action,
            subject=wanted.subject,
            environment=wanted.environment,
            partner=wanted.partner,
            change=wanted.change,
            digest=wanted.digest(),
            subject_revision=None if wanted.standing is None else wanted.standing.revision,
            approvers=approvers,
            state="pending",
            requested_by=change.author.actor,
            requester_partner=partner,
            requested_at=change.at,
            reason=change.author.reason,
            expires_at=expires_at,
        )


async def _get_open(change: Change, approval_id: str, states: tuple[str, ...]) -> Approval:
    found = (await rows.get(change.conn, approval_id)).seen_at(change.at)
    if found.state not in states:
        raise ApprovalClosed(found)
    return found


async def _require_unmoved(conn: AsyncConnection, standing: Standing) -> None:
    if await rows.find_revision(conn, standing) != standing.revision:
        raise SubjectMoved(standing.name)


async def _record(change: Change, act: str, approval: Approval, details: dict[str, object]) -> None:
    await change.record(
        act,
        approval.id,
        environment=approval.environment,
        partner=approval.partner,
        details={"action": approval.action, "subject": approval.subject, **details},
    )
