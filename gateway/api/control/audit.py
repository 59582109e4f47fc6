"""The audit ledger, as far as the operator reaches."""

from __future__ import annotations

from typing import Any, Final

from litestar import Controller
from msgspec import UNSET, Struct, UnsetType

from gateway.api.control import types
from gateway.api.control.call import Call, Reply
from gateway.api.control.endpoint import endpoint
from gateway.api.control.rules import PREFIX, Rule
from gateway.problems import Refusal
from policies import control
from storage import audit

TAG: Final = "audit"
_MOST_DIGITS: Final = 15


class AuditQuery(types.Paging, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`action` is a beginning, such as `api_key.`; `since` is within, `until` is not."""

    actor: types.Word | UnsetType = UNSET
    action: types.Word | UnsetType = UNSET
    subject: types.Word | UnsetType = UNSET
    partner: types.PartnerId | UnsetType = UNSET
    environment: types.Word | UnsetType = UNSET
    since: types.Moment | UnsetType = UNSET
    until: types.Moment | UnsetType = UNSET


class Entry(Struct, frozen=True, kw_only=True):
    """`previous` and `hash` chain it to the entry before: for who reaches all partners, since they would betray what is
    left out for others. `actor` is `operator` where it is not the partner's own.
    """

    seq: int
    at: types.Moment
    revision: int
    actor: str
    action: str
    subject: str
    environment: str | None
    partner: str | None
    details: dict[str, Any]
    reason: str | None
    source: str | None
    request_id: str | None
    approval: str | None
    previous: str | None
    hash: str | None


class EntryList(Struct, frozen=True, kw_only=True):
    items: tuple[Entry, ...]
    next: str | None


SAMPLE: Final = Entry(
    seq=42,
    at=1_763_596_800_000,
    revision=40,
    actor="key:prk_live_2Yk4Nq0cJ8mVtXwR5sLbZe1A7hKc",
    action="api_key.frozen",
    subject="prk_paper_2Yk4Nq0cJ8mVtXwR5sLbZe1A7hKc",
    environment="paper",
    partner="acme",
    details={},
    reason="a test of ours",
    source="203.0.113.7",
    request_id="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    approval=None,
    previous="0" * 64,
    hash="f" * 64,
)


class AuditController(Controller):
    path = PREFIX

    @endpoint(
        Rule(
            id="search_audit",
            method="GET",
            path="/audit",
            tag=TAG,
            summary="Search the audit ledger, newest first",
            permission=control.AUDIT_READ,
            reach="listed",
            query=AuditQuery,
            answer=EntryList,
            refuses=("not_found",),
            sample=EntryList(items=(SAMPLE,), next=None),
        )
    )
    async def search_audit(self, call: Call) -> Reply:
        query: AuditQuery = call.query
        wanted = audit.Search(
            actor=types.given(query.actor),
            action=types.given(query.action),
            subject=types.given(query.subject),
            partner=types.given(query.partner),
            environment=types.given(query.environment),
            since=types.given(query.since),
            until=types.given(query.until),
        )
        found = await call.operations.audit.search(
            call.operator, wanted, before=call.position(int), limit=query.limit + 1
        )
        shown = found[: query.limit]
        following = call.next(shown[-1].seq if len(found) > query.limit else None)
        return Reply(EntryList(items=tuple(_view(entry) for entry in shown), next=following), next=following)

    @endpoint(
        Rule(
            id="get_audit_entry",
            method="GET",
            path="/audit/{seq}",
            tag=TAG,
            summary="Look at one entry of the audit ledger",
            permission=control.AUDIT_READ,
            reach="own",
            answer=Entry,
            sample=SAMPLE,
        )
    )
    async def get_audit_entry(self, call: Call) -> Reply:
        seq = call.parameters["seq"]
        if not (seq.isascii() and seq.isdigit()) or len(seq) > _MOST_DIGITS or seq != str(int(seq)):
            raise Refusal("not_found", "There is no such audit entry.")
        entry = await call.operations.audit.get(call.operator, int(seq))
        # An entry never changes, so its number says which state of it this is.
        return Reply(_view(entry), revision=entry.seq or None)


def _view(entry: audit.AuditEntry) -> Entry:
    event = entry.event
    told = {name: getattr(event, name) for name in audit.AuditEvent.__struct_fields__}
    return Entry(seq=entry.seq, previous=entry.previous or None, hash=entry.hash or None, **told)
