"""The rows of approvals. Every function works inside the transaction it is given."""

from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from keys import refusals
from keys.approval_records import Approval, Standing, Wished
from storage import schema

_TABLE: Final = schema.approvals
_COLUMNS: Final = tuple(
    _TABLE.c.partner_id.label("partner") if name == "partner" else _TABLE.c[name]
    for name in Approval.__struct_fields__
)
_TABLES: Final = {
    "account": schema.accounts,
    "key": schema.api_keys,
    "partner": schema.partners,
    "secret": schema.secrets,
    "client": schema.oauth_clients,
    "webhook": schema.webhooks,
}
_NEVER_CHANGED: Final = 0


class UnknownApproval(refusals.NotFound):
    """It does not exist, or not for whoever asks: which of the two is not told."""

    def __init__(self, approval_id: str) -> None:
        super().__init__(f"there is no approval {approval_id!r:.80} for you")


async def get(conn: AsyncConnection, approval_id: str) -> Approval:
    row = (await conn.execute(sa.select(*_COLUMNS).where(_TABLE.c.id == approval_id))).mappings().first()
    if row is None:
        raise UnknownApproval(approval_id)
    return _read(row)


async def find_open(conn: AsyncConnection, digest: str, requested_by: str, now_ms: int) -> Approval | None:
    query = sa.select(*_COLUMNS).where(
        _TABLE.c.digest == digest,
        _TABLE.c.requested_by == requested_by,
        _TABLE.c.state.in_(("pending", "approved")),
        _TABLE.c.expires_at > now_ms,
    )
    row = (await conn.execute(query)).mappings().first()
    return None if row is None else _read(row)


async def count_pending(conn: AsyncConnection, requested_by: str, now_ms: int) -> int:
    waiting = sa.and_(
        _TABLE.c.requested_by == requested_by, _TABLE.c.state == "pending", _TABLE.c.expires_at > now_ms
    )
    return await conn.scalar(sa.select(sa.func.count()).select_from(_TABLE).where(waiting)) or 0


async def list_page(  # noqa: PLR0913  which of them, and from where
    conn: AsyncConnection,
    now_ms: int,
    *,
    partner: str | None,
    state: Wished | None,
    after: str | None,
    limit: int,
) -> list[Approval]:
    """Newest first."""
    query = sa.select(*_COLUMNS).order_by(_TABLE.c.requested_at.desc(), _TABLE.c.id.desc()).limit(limit)
    if partner is not None:
        query = query.where(_TABLE.c.partner_id == partner)
    if state is not None:
        query = query.where(_is(state, now_ms))
    if after is not None:
        last = await get(conn, after)
        place = sa.tuple_(sa.literal(last.requested_at), sa.literal(last.id))
        query = query.where(sa.tuple_(_TABLE.c.requested_at, _TABLE.c.id) < place)
    return [_read(row) for row in (await conn.execute(query)).mappings()]


def _is(state: Wished, now_ms: int) -> sa.ColumnElement[bool]:
    """As it reads now: nobody writes down that a request has expired."""
    open_, lasts = _TABLE.c.state.in_(("pending", "approved")), _TABLE.c.expires_at > now_ms
    match state:
        case "open":
            return sa.and_(open_, lasts)
        case "expired":
            return sa.and_(open_, sa.not_(lasts))
        case "pending" | "approved":
            return sa.and_(_TABLE.c.state == state, lasts)
        case _:
            return _TABLE.c.state == state


async def insert(conn: AsyncConnection, approval: Approval) -> None:
    fields: dict[str, Any] = msgspec.structs.asdict(approval)
    fields["partner_id"] = fields.pop("partner")
    fields["approvers"] = [list(roles) for roles in approval.approvers]
    await conn.execute(sa.insert(_TABLE).values(**fields))


async def settle(conn: AsyncConnection, approval_id: str, **values: object) -> None:
    await conn.execute(sa.update(_TABLE).where(_TABLE.c.id == approval_id).values(**values))


async def mark_used(
    conn: AsyncConnection, approval_id: str, digest: str, requested_by: str, now_ms: int
) -> bool:
    """One statement: of any number of uses, one finds it approved."""
    usable = sa.and_(
        _TABLE.c.id == approval_id,
        _TABLE.c.state == "approved",
        _TABLE.c.digest == digest,
        _TABLE.c.requested_by == requested_by,
        _TABLE.c.expires_at > now_ms,
    )
    used = await conn.execute(sa.update(_TABLE).where(usable).values(state="used", used_at=now_ms))
    return used.rowcount == 1


async def is_stopped(conn: AsyncConnection, actor: str) -> bool:
    """Whether the actor is an API key that was frozen or revoked."""
    keys = schema.api_keys
    stopped = sa.or_(keys.c.frozen_at.is_not(None), keys.c.revoked_at.is_not(None))
    query = sa.select(keys.c.id).where(keys.c.id == actor.removeprefix("key:"), stopped)
    return (await conn.execute(query)).first() is not None


async def find_revision(conn: AsyncConnection, standing: Standing) -> int:
    """Of what is about to be changed, as it is now; what is not there has never been changed."""
    table = _TABLES.get(standing.kind)
    if table is not None:
        query = sa.select(table.c.revision).where(table.c.id == standing.name)
    else:
        frozen = schema.freezes
        query = sa.select(frozen.c.revision).where(
            frozen.c.kind == standing.kind, frozen.c.name == standing.name
        )
    found: int | None = (await conn.execute(query)).scalar_one_or_none()
    return _NEVER_CHANGED if found is None else found


def _read(row: sa.RowMapping) -> Approval:
    fields = dict(row)
    fields["approvers"] = tuple(tuple(roles) for roles in fields["approvers"])
    return Approval(**fields)
