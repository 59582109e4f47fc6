"""The rows of deliveries: what is still to be told to whom. Every function works inside the transaction it is given.

Invariant: one delivery for each webhook and entry of the ledger. It leaves `waiting` only for an end that is known:
an attempt is counted, and the next one set, before anything is sent, so a sender that dies has lost nothing. Of two
that claim the same attempt, one gets it. What an attempt came to counts only if none was claimed since.
"""

from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from keys.webhook_records import Delivery, UnknownDelivery
from storage import schema

_TABLE: Final = schema.webhook_deliveries
_HOOKS: Final = schema.webhooks
_COLUMNS: Final = (
    _TABLE.c.webhook_id.label("webhook"),
    *(_TABLE.c[name] for name in Delivery.__struct_fields__ if name != "webhook"),
)
_ENDED: Final = ("delivered", "given-up")


class Due(NamedTuple):
    """A delivery whose time has come, and where it goes."""

    id: str
    webhook: str
    partner: str
    event: str
    url: str
    body: str
    attempts: int

    def __repr__(self) -> str:
        return f"Due({self.id})"


async def insert(  # noqa: PLR0913  what a delivery is, each by its name
    conn: AsyncConnection, *, delivery_id: str, webhook_id: str, seq: int, event: str, body: str, now_ms: int
) -> None:
    await conn.execute(
        sa.insert(_TABLE).values(
            id=delivery_id,
            webhook_id=webhook_id,
            seq=seq,
            event=event,
            body=body,
            state="waiting",
            attempts=0,
            created_at=now_ms,
            next_attempt_at=now_ms,
        )
    )


async def get(conn: AsyncConnection, delivery_id: str) -> Delivery:
    row = (await conn.execute(sa.select(*_COLUMNS).where(_TABLE.c.id == delivery_id))).mappings().first()
    if row is None:
        raise UnknownDelivery(delivery_id)
    return Delivery(**row)


async def list_newest(
    conn: AsyncConnection, webhook_id: str, limit: int, before: int | None = None
) -> list[Delivery]:
    query = sa.select(*_COLUMNS).where(_TABLE.c.webhook_id == webhook_id)
    if before is not None:
        query = query.where(_TABLE.c.seq < before)
    rows = (await conn.execute(query.order_by(_TABLE.c.seq.desc()).limit(limit))).mappings()
    return [Delivery(**row) for row in rows]


async def find_due(conn: AsyncConnection, now_ms: int, limit: int) -> list[Due]:
    """The first of every partner before the second of any, so that nobody's backlog is in another's way."""
    rank = sa.func.row_number().over(
        partition_by=_HOOKS.c.partner_id, order_by=(_TABLE.c.next_attempt_at, _TABLE.c.seq)
    )
    ready = (
        sa.select(
            _TABLE.c.id,
            _TABLE.c.webhook_id,
            _HOOKS.c.partner_id,
            _TABLE.c.event,
            _HOOKS.c.url,
            _TABLE.c.body,
            _TABLE.c.attempts,
            _TABLE.c.next_attempt_at,
            rank.label("rank"),
        )
        .join(_HOOKS, _HOOKS.c.id == _TABLE.c.webhook_id)
        .where(
            _TABLE.c.state == "waiting",
            _TABLE.c.next_attempt_at <= now_ms,
            _HOOKS.c.disabled_at.is_(None),
            _HOOKS.c.removed_at.is_(None),
        )
        .subquery()
    )
    fair = sa.select(*(ready.c[name] for name in ("id", "webhook_id", "partner_id", "event", "url", "body")))
    fair = fair.add_columns(ready.c.attempts).order_by(ready.c.rank, ready.c.next_attempt_at).limit(limit)
    return [Due(*row) for row in await conn.execute(fair)]


async def claim(conn: AsyncConnection, due: Due, *, again_at: int) -> bool:
    """Whether this attempt is the caller's. If nothing is heard of it, the next one is at `again_at`."""
    return await _update(conn, due.id, due.attempts, attempts=due.attempts + 1, next_attempt_at=again_at)


async def set_delivered(
    conn: AsyncConnection, delivery_id: str, attempt: int, status: int, now_ms: int
) -> bool:
    return await _end(conn, delivery_id, attempt, "delivered", now_ms, last_status=status, last_failure=None)


async def set_failed(  # noqa: PLR0913  what is known of the failure, each by its name
    conn: AsyncConnection,
    delivery_id: str,
    attempt: int,
    *,
    status: int | None,
    failure: str,
    again_at: int,
) -> bool:
    return await _update(
        conn, delivery_id, attempt, last_status=status, last_failure=failure, next_attempt_at=again_at
    )


async def set_given_up(  # noqa: PLR0913  the same
    conn: AsyncConnection, delivery_id: str, attempt: int, *, status: int | None, failure: str, now_ms: int
) -> bool:
    return await _end(
        conn, delivery_id, attempt, "given-up", now_ms, last_status=status, last_failure=failure
    )


async def has_failed_in_a_row(conn: AsyncConnection, webhook_id: str, count: int) -> bool:
    """Whether its last `count` deliveries to end were all given up."""
    ended = sa.select(_TABLE.c.state).where(_TABLE.c.webhook_id == webhook_id, _TABLE.c.state.in_(_ENDED))
    last = ended.order_by(_TABLE.c.ended_at.desc(), _TABLE.c.seq.desc()).limit(count)
    states = list((await conn.execute(last)).scalars())
    return len(states) == count and set(states) == {"given-up"}


async def begin_again(conn: AsyncConnection, delivery: Delivery, now_ms: int) -> None:
    await conn.execute(
        sa.update(_TABLE)
        .where(_TABLE.c.id == delivery.id)
        .values(state="waiting", attempts=0, next_attempt_at=now_ms, ended_at=None)
    )


async def give_up_all(conn: AsyncConnection, webhook_id: str, failure: str, now_ms: int) -> None:
    await conn.execute(
        sa.update(_TABLE)
        .where(_TABLE.c.webhook_id == webhook_id, _TABLE.c.state == "waiting")
        .values(state="given-up", ended_at=now_ms, next_attempt_at=None, last_failure=failure)
    )


async def prune(conn: AsyncConnection, ended_before_ms: int) -> int:
    """The ledger keeps what happened; that a partner was told of it is kept for a while."""
    old = sa.delete(_TABLE).where(_TABLE.c.state.in_(_ENDED), _TABLE.c.ended_at < ended_before_ms)
    return (await conn.execute(old)).rowcount


async def _end(
    conn: AsyncConnection,
    delivery_id: str,
    attempt: int,
    state: str,
    now_ms: int,
    **known: Any,  # noqa: ANN401
) -> bool:
    return await _update(
        conn, delivery_id, attempt, state=state, ended_at=now_ms, next_attempt_at=None, **known
    )


async def _update(conn: AsyncConnection, delivery_id: str, attempt: int, **values: Any) -> bool:  # noqa: ANN401  columns
    """Nothing, if the row has moved on since."""
    same = sa.and_(_TABLE.c.id == delivery_id, _TABLE.c.state == "waiting", _TABLE.c.attempts == attempt)
    return (await conn.execute(sa.update(_TABLE).where(same).values(**values))).rowcount == 1
