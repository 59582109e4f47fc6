"""What waits for a second person: looking at it, and agreeing to it, refusing it, or taking it back.

Invariant: nothing is done here but to decide; whoever asked sends their own request again, with `Portreeve-Approval`.
What an approval is for never changes under its id, so whoever decides has seen what they decide. Its answers carry no
`ETag`: an approval expires without being changed.
"""

from __future__ import annotations

from typing import Any, Final

from litestar import Controller
from msgspec import UNSET, Struct, UnsetType, structs

from gateway.api.control import types
from gateway.api.control.call import Call, Reply
from gateway.api.control.endpoint import endpoint
from gateway.api.control.rules import PREFIX, Rule
from keys import approval_records, approvals
from policies import control

TAG: Final = "approvals"


class Decision(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    reason: types.Reason | None = None


class Approval(Struct, frozen=True, kw_only=True):
    """`requested_by` and `decided_by` are `operator` to a partner whose keys they are not.

    `approvers`: whoever decides has a role of each of these lists. `digest`: over all that the change is.
    """

    id: str
    action: str
    subject: str
    environment: str | None
    partner: str | None
    state: approval_records.State
    requested_by: str
    requested_at: types.Moment
    reason: str | None
    expires_at: types.Moment
    approvers: tuple[tuple[str, ...], ...]
    decided_by: str | None
    decided_at: types.Moment | None
    decision_reason: str | None
    used_at: types.Moment | None
    digest: str
    change: dict[str, Any]


class ApprovalList(Struct, frozen=True, kw_only=True):
    items: tuple[Approval, ...]
    next: str | None


class ApprovalQuery(types.Paging, frozen=True, forbid_unknown_fields=True, kw_only=True):
    state: approval_records.Wished | UnsetType = UNSET


SAMPLE: Final = Approval(
    id="apr_k3jx2m5qwe7rtyui",
    action="partner.unfreeze",
    subject="acme",
    environment=None,
    partner="acme",
    state="pending",
    requested_by="key:prk_live_2Yk4Nq0cJ8mVtXwR5sLbZe1A7hKc",
    requested_at=1_763_596_800_000,
    reason="explained: a load test",
    expires_at=1_763_683_200_000,
    approvers=(),
    decided_by=None,
    decided_at=None,
    decision_reason=None,
    used_at=None,
    digest="f" * 64,
    change={},
)
_SAMPLE_APPROVED: Final = structs.replace(
    SAMPLE,
    state="approved",
    decided_by="key:prk_live_7Hc2Qm9xT4bVsKdW1nRyZg3P0jLa",
    decided_at=1_763_596_900_000,
    decision_reason="talked to them",
)
_SAMPLE_REFUSED: Final = structs.replace(
    _SAMPLE_APPROVED, state="refused", decision_reason="nobody there knows"
)


class ApprovalController(Controller):
    path = PREFIX

    @endpoint(
        Rule(
            id="list_approvals",
            method="GET",
            path="/approvals",
            tag=TAG,
            summary="List what was asked of a second person, newest first",
            description="`state=open` is what can still be decided or used.",
            permission=control.APPROVALS_READ,
            reach="listed",
            query=ApprovalQuery,
            answer=ApprovalList,
            sample=ApprovalList(items=(SAMPLE,), next=None),
        )
    )
    async def list_approvals(self, call: Call) -> Reply:
        after, query = call.position(str), call.query
        try:
            page = await call.operations.approvals.find_page(
                call.operator, state=types.given(query.state), after=after, limit=query.limit
            )
        except approvals.UnknownApproval:
            raise call.refuse_cursor() from None
        following = call.next(page.after)
        items = tuple(_view(each) for each in page.approvals)
        return Reply(ApprovalList(items=items, next=following), next=following)

    @endpoint(
        Rule(
            id="get_approval",
            method="GET",
            path="/approvals/{approval_id}",
            tag=TAG,
            summary="Look at one request, with all that it would change",
            permission=control.APPROVALS_READ,
            reach="own",
            answer=Approval,
            tagged=False,
            sample=SAMPLE,
        )
    )
    async def get_approval(self, call: Call) -> Reply:
        return _one(await call.operations.approvals.get(call.operator, call.parameters["approval_id"]))

    @endpoint(
        Rule(
            id="approve",
            method="POST",
            path="/approvals/{approval_id}/approve",
            tag=TAG,
            summary="Agree to what somebody else has asked for",
            description="Nobody agrees to what they, or a key that they made alone, asked for; and a partner's"
            " operator only to what that partner's operators asked for. Whoever asked then sends their request again,"
            " with Portreeve-Approval.",
            permission=control.APPROVE,
            reach="own",
            environment="subject",
            body=Decision,
            answer=Approval,
            tagged=False,
            sample_body=Decision(reason="talked to them"),
            sample=_SAMPLE_APPROVED,
        )
    )
    async def approve(self, call: Call) -> Reply:
        approval_id, reason = call.parameters["approval_id"], call.body.reason
        return _one(await call.operations.approvals.approve(call.operator, approval_id, reason=reason))

    @endpoint(
        Rule(
            id="refuse_approval",
            method="POST",
            path="/approvals/{approval_id}/refuse",
            tag=TAG,
            summary="Refuse what somebody else has asked for",
            permission=control.APPROVE,
            reach="own",
            environment="subject",
            body=Decision,
            answer=Approval,
            tagged=False,
            sample_body=Decision(reason="nobody there knows"),
            sample=_SAMPLE_REFUSED,
        )
    )
    async def refuse_approval(self, call: Call) -> Reply:
        approval_id, reason = call.parameters["approval_id"], call.body.reason
        return _one(await call.operations.approvals.refuse(call.operator, approval_id, reason=reason))

    @endpoint(
        Rule(
            id="withdraw_approval",
            method="POST",
            path="/approvals/{approval_id}/withdraw",
            tag=TAG,
            summary="Take back what the same key has asked for",
            description="Also when it has been approved and is not needed any more.",
            permission=control.APPROVALS_READ,
            reach="asked",
            body=Decision,
            answer=Approval,
            tagged=False,
            sample_body=Decision(reason="not needed any more"),
            sample=structs.replace(SAMPLE, state="withdrawn"),
        )
    )
    async def withdraw_approval(self, call: Call) -> Reply:
        approval_id, reason = call.parameters["approval_id"], call.body.reason
        return _one(await call.operations.approvals.withdraw(call.operator, approval_id, reason=reason))


def _view(approval: approval_records.Approval) -> Approval:
    return Approval(**{name: getattr(approval, name) for name in Approval.__struct_fields__})


def _one(approval: approval_records.Approval) -> Reply:
    return Reply(_view(approval))
