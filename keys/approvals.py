"""Four eyes: a change is asked for by one person, agreed to by another, and made by the first, once.

Invariant: nobody decides what they, or a key that they made alone, asked for. An approval lets pass exactly the change
that it was given for, on the subject as it stood, by whoever asked, until it expires, once: it is marked as used in
the transaction that makes the change, so neither a crash nor a race can use it twice or lose it. Each step is in the
ledger. All its times are the store's clock, so that no node with a wrong one prolongs it.
Refuses: what a key has approved that was stopped since, and more waiting requests of one person than anybody could look
at.
"""

import base64
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keys import approval_rows as rows
from keys import identities, refusals
from keys.approval_records import PREFIX, Approval, Deciders, Standing, Wanted, Wished
from keys.approval_rows import UnknownApproval
from keys.changes import Author, Change, Changes
from storage import engine

__all__ = ["ApprovalPage", "Approvals", "Spending", "UnknownApproval"]

ID_ENTROPY: Final = 10
_MOST_PENDING: Final = 100
_LONGEST_PAGE: Final = 500
# The act whose subject is somebody's address, and what of its change is their own. Whoever decides is shown both; the
# ledger, which forgets nothing, has the digest of all of it.
_OF_SOMEBODY_NEW: Final = "account.invite"
_THEIR_OWN: Final = frozenset({"name"})


class TooManyPending(refusals.Conflict):
    def __init__(self) -> None:
        super().__init__(f"{_MOST_PENDING} requests of yours wait for a second person: withdraw some")


class SelfApproval(refusals.Conflict):
    def __init__(self, approval_id: str) -> None:
        super().__init__(f"{approval_id} was asked for by yourself, or by a key that one of you made alone")


class KeyNeeded(refusals.Conflict):
    def __init__(self, approval_id: str) -> None:
        super().__init__(
            f'{approval_id} is decided over the control API, with an API key: the policies say deciders = "keys"'
        )


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

    `approvers`, `deciders`: whom the rules ask for as they are now.
    """

    approval: str
    wanted: Wanted
    approvers: tuple[tuple[str, ...], ...] = ()
    deciders: Deciders = "anybody"

    async def spend(self, change: Change) -> None:
        standing, digest = self.wanted.standing, self.wanted.digest()
        if standing is not None:
            await _require_unmoved(change.conn, standing)
        if not await rows.mark_used(
            change.conn, self.approval, digest, change.author.actor, await change.now()
        ):
            await self._refuse(change)
        await self.require_decider(change)
        await change.record(
            "approval.used",
            self.approval,
            environment=self.wanted.environment,
            partner=self.wanted.partner,
            details={**_name(self.wanted.action, self.wanted.subject), "digest": digest},
        )

    async def require_decider(self, change: Change) -> None:
        """Whoever decided had a role of each list that was asked for then; which one is not known any more."""
        found = await rows.get(change.conn, self.approval)
        if self.deciders == "keys" and not await _was_signed(change.conn, found):
            raise RulesTightened(self.approval)
        if not all(any(set(then) <= set(now) for then in found.approvers) for now in self.approvers):
            raise RulesTightened(self.approval)
        if found.decided_by is not None and await rows.is_stopped(change.conn, found.decided_by):
            raise DeciderStopped(self.approval)

    async def _refuse(self, change: Change) -> None:
        found = (await rows.get(change.conn, self.approval)).seen_at(await change.now())
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
    def __init__(self, engine_: AsyncEngine, changes: Changes, entropy: Callable[[int], bytes]) -> None:
        self._engine = engine_
        self._changes = changes
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
            now_ms = await change.now()
            found = await rows.find_open(change.conn, wanted.digest(), author.actor, now_ms)
            if found is not None:
                change.abandon()
                return found
            if await rows.count_pending(change.conn, author.actor, now_ms) >= _MOST_PENDING:
                raise TooManyPending
            approval = self._draft(wanted, change, (now_ms, now_ms + wait_ms), approvers, partner)
            await rows.insert(change.conn, approval)
            details: dict[str, object] = {
                "change": _tell(wanted),
                "digest": approval.digest,
                "expires_at": approval.expires_at,
            }
            await _record(change, "approval.requested", approval, details)
        return approval

    async def get(self, approval_id: str) -> Approval:
        async with engine.reading(self._engine) as conn:
            return (await rows.get(conn, approval_id)).seen_at(await self._changes.now(conn))

    async def find_page(
        self,
        *,
        partner: str | None = None,
        state: Wished | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> ApprovalPage:
        """Newest first."""
        size = max(1, min(limit, _LONGEST_PAGE))
        async with engine.reading(self._engine) as conn:
            now_ms = await self._changes.now(conn)
            found = await rows.list_page(
                conn, now_ms, partner=partner, state=state, after=after, limit=size + 1
            )
        shown = tuple(approval.seen_at(now_ms) for approval in found[:size])
        return ApprovalPage(approvals=shown, after=shown[-1].id if len(found) > size else None)

    async def approve(self, approval_id: str, *, deciders: Deciders = "anybody", author: Author) -> Approval:
        return await self._decide(approval_id, "approved", deciders, author)

    async def refuse(self, approval_id: str, *, deciders: Deciders = "anybody", author: Author) -> Approval:
        return await self._decide(approval_id, "refused", deciders, author)

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
        self,
        approval_id: str,
        state: Literal["approved", "refused"],
        deciders: Deciders,
        author: Author,
    ) -> Approval:
        signed = deciders == "keys"
        async with self._changes.begin(author) as change:
            found = await _get_open(change, approval_id, ("pending",))
            if signed and not identities.is_key(author.actor):
                raise KeyNeeded(approval_id)
            if await identities.may_be_one_mind(
                change.conn, found.requested_by, author.actor, shells_are_one=signed
            ):
                raise SelfApproval(approval_id)
            await rows.settle(
                change.conn,
                approval_id,
                state=state,
                decided_by=author.actor,
                decided_at=await change.now(),
                decision_reason=author.reason,
            )
            await _record(change, f"approval.{state}", found, {"requested_by": found.requested_by})
            return await rows.get(change.conn, approval_id)

    def _draft(
        self,
        wanted: Wanted,
        change: Change,
        lasts: tuple[int, int],
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
            requested_at=lasts[0],
            reason=change.author.reason,
            expires_at=lasts[1],
        )


async def _get_open(change: Change, approval_id: str, states: tuple[str, ...]) -> Approval:
    found = (await rows.get(change.conn, approval_id)).seen_at(await change.now())
    if found.state not in states:
        raise ApprovalClosed(found)
    return found


async def _was_signed(conn: AsyncConnection, found: Approval) -> bool:
    """Whether a key said yes, and none that only an account stood behind where another account had asked."""
    decided_by = found.decided_by
    if decided_by is None or not identities.is_key(decided_by):
        return False
    return not await identities.may_be_one_mind(conn, found.requested_by, decided_by, shells_are_one=True)


async def _require_unmoved(conn: AsyncConnection, standing: Standing) -> None:
    if await rows.find_revision(conn, standing) != standing.revision:
        raise SubjectMoved(standing.name)


async def _record(change: Change, act: str, approval: Approval, details: dict[str, object]) -> None:
    await change.record(
        act,
        approval.id,
        environment=approval.environment,
        partner=approval.partner,
        details={**_name(approval.action, approval.subject), **details},
    )


def _name(action: str, subject: str) -> dict[str, object]:
    return {"action": action} if action == _OF_SOMEBODY_NEW else {"action": action, "subject": subject}


def _tell(wanted: Wanted) -> dict[str, Any]:
    own = _THEIR_OWN if wanted.action == _OF_SOMEBODY_NEW else frozenset()
    return {name: told for name, told in wanted.change.items() if name not in own}
