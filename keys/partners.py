"""The rows of partners. Every function works inside the transaction it is given."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from keys import refusals
from keys.changes import Change
from keys.records import Partner
from storage import schema

_TABLE = schema.partners
_COLUMNS = tuple(_TABLE.c[name] for name in Partner.__struct_fields__)


class PartnerExists(refusals.Conflict):
    def __init__(self, partner_id: str) -> None:
        super().__init__(f"a partner {partner_id!r} exists")


class UnknownPartner(refusals.NotFound):
    def __init__(self, partner_id: str) -> None:
        super().__init__(f"there is no partner {partner_id!r:.80}")


class PartnerAlreadyFrozen(refusals.Conflict):
    def __init__(self, partner_id: str) -> None:
        super().__init__(f"partner {partner_id!r} is frozen")


class PartnerNotFrozen(refusals.Conflict):
    def __init__(self, partner_id: str) -> None:
        super().__init__(f"partner {partner_id!r} is not frozen")


class PartnerMoved(refusals.Conflict):
    def __init__(self, partner_id: str) -> None:
        super().__init__(f"partner {partner_id!r} has been changed in the meantime: look at it again")


async def find(conn: AsyncConnection, partner_id: str) -> Partner | None:
    query = sa.select(*_COLUMNS).where(_TABLE.c.id == partner_id)
    row = (await conn.execute(query)).mappings().first()
    return None if row is None else Partner(**row)


async def get(conn: AsyncConnection, partner_id: str) -> Partner:
    partner = await find(conn, partner_id)
    if partner is None:
        raise UnknownPartner(partner_id)
    return partner


async def find_revision(conn: AsyncConnection, partner_id: str) -> int | None:
    partner = await find(conn, partner_id)
    return None if partner is None else partner.revision


async def list_all(conn: AsyncConnection) -> list[Partner]:
    rows = (await conn.execute(sa.select(*_COLUMNS).order_by(_TABLE.c.id))).mappings()
    return [Partner(**row) for row in rows]


async def insert(change: Change, partner_id: str, name: str, tier: str) -> None:
    if await find(change.conn, partner_id) is not None:
        raise PartnerExists(partner_id)
    await change.conn.execute(
        sa.insert(_TABLE).values(
            id=partner_id, name=name, tier=tier, created_at=change.at, revision=change.revision
        )
    )


async def get_at(conn: AsyncConnection, partner_id: str, revision: int) -> Partner:
    """The partner, if it is still as whoever wants to change it has seen it."""
    partner = await get(conn, partner_id)
    if partner.revision != revision:
        raise PartnerMoved(partner_id)
    return partner


async def alter(change: Change, partner_id: str, name: str, tier: str) -> None:
    await _update(change, partner_id, name=name, tier=tier)


async def freeze(change: Change, partner_id: str) -> None:
    if (await get(change.conn, partner_id)).frozen_at is not None:
        raise PartnerAlreadyFrozen(partner_id)
    await _update(change, partner_id, frozen_at=change.at, frozen_reason=change.author.reason)


async def unfreeze(change: Change, partner_id: str) -> None:
    if (await get(change.conn, partner_id)).frozen_at is None:
        raise PartnerNotFrozen(partner_id)
    await _update(change, partner_id, frozen_at=None, frozen_reason=None)


async def _update(change: Change, partner_id: str, **values: object) -> None:
    await change.conn.execute(
        sa.update(_TABLE).where(_TABLE.c.id == partner_id).values(revision=change.revision, **values)
    )
