"""The rows of passkeys. Every function works inside the transaction it is given.

Invariant: a use is written only on top of the counter that it was verified against, so of two at once one is taken.
"""

from __future__ import annotations

from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from auth.people.records import Passkey
from keys.changes import Change
from storage import schema

_TABLE: Final = schema.passkeys


class StoredPasskey(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    account_id: str
    public_key: bytes
    sign_count: int
    label: str
    backed_up: bool
    created_at: int
    last_used_at: int | None

    def show(self) -> Passkey:
        return Passkey(
            id=self.id,
            label=self.label,
            backed_up=self.backed_up,
            created_at=self.created_at,
            last_used_at=self.last_used_at,
        )


_COLUMNS: Final = tuple(_TABLE.c[name] for name in StoredPasskey.__struct_fields__)


async def find(conn: AsyncConnection, passkey_id: str) -> StoredPasskey | None:
    query = sa.select(*_COLUMNS).where(_TABLE.c.id == passkey_id)
    row = (await conn.execute(query)).mappings().first()
    return None if row is None else _read(row)


async def list_of(conn: AsyncConnection, account_id: str) -> tuple[StoredPasskey, ...]:
    query = sa.select(*_COLUMNS).where(_TABLE.c.account_id == account_id)
    rows = (await conn.execute(query.order_by(_TABLE.c.created_at, _TABLE.c.id))).mappings()
    return tuple(_read(row) for row in rows)


async def insert(  # noqa: PLR0913  what a passkey is, each by its name
    change: Change,
    passkey_id: str,
    account_id: str,
    *,
    public_key: bytes,
    sign_count: int,
    label: str,
    backed_up: bool,
) -> None:
    await change.conn.execute(
        sa.insert(_TABLE).values(
            id=passkey_id,
            account_id=account_id,
            public_key=public_key,
            sign_count=sign_count,
            label=label,
            transports=[],
            backed_up=int(backed_up),
            created_at=change.at,
        )
    )


async def use(change: Change, stored: StoredPasskey, sign_count: int) -> bool:
    """False where it was used or removed since it was read."""
    unmoved = sa.and_(_TABLE.c.id == stored.id, _TABLE.c.sign_count == stored.sign_count)
    used = await change.conn.execute(
        sa.update(_TABLE).where(unmoved).values(sign_count=sign_count, last_used_at=change.at)
    )
    return used.rowcount == 1


async def rename(change: Change, passkey_id: str, label: str) -> None:
    await change.conn.execute(sa.update(_TABLE).where(_TABLE.c.id == passkey_id).values(label=label))


async def delete(change: Change, passkey_id: str) -> None:
    await change.conn.execute(sa.delete(_TABLE).where(_TABLE.c.id == passkey_id))


async def delete_all(change: Change, account_id: str) -> None:
    await change.conn.execute(sa.delete(_TABLE).where(_TABLE.c.account_id == account_id))


def _read(row: sa.RowMapping) -> StoredPasskey:
    fields = dict(row)
    fields["backed_up"] = bool(fields["backed_up"])
    return StoredPasskey(**fields)
