"""The rows of data keys and of their wrappings. Every function works inside the transaction it is given.

Invariant: what a data key is (id, environment, epoch) is the context of each of its wrappings, so a row that was
altered opens nothing. A destroyed data key has no wrapping, and nothing new is stored under it.
"""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from keys import refusals
from keys.changes import Change
from keys.register import Domain
from keys.wrappers import Wrapping
from storage import schema

State = Literal["active", "retiring", "destroyed"]

_KEYS: Final = schema.data_keys
_WRAPPINGS: Final = schema.data_key_wrappings
_VERSIONS: Final = schema.secret_versions


class UnknownDataKey(refusals.NotFound):
    def __init__(self, data_key_id: str) -> None:
        super().__init__(f"no data key {data_key_id!r} is stored")


class DataKeyDestroyed(refusals.Conflict):
    def __init__(self, data_key_id: str) -> None:
        super().__init__(f"data key {data_key_id} was destroyed meanwhile; try again")


class StoredDataKey(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    environment: Domain
    epoch: int
    state: State
    created_at: int
    retiring_at: int | None = None
    destroyed_at: int | None = None
    wrappings: tuple[Wrapping, ...] = ()

    @property
    def context(self) -> dict[str, str]:
        return make_context(self.id, self.environment, self.epoch)

    def __str__(self) -> str:
        return f"data key {self.id} of {self.environment}"


_COLUMNS: Final = tuple(_KEYS.c[name] for name in StoredDataKey.__struct_fields__ if name != "wrappings")


def make_context(data_key_id: str, environment: str, epoch: int) -> dict[str, str]:
    return {
        "purpose": "portreeve/data-key/1",
        "id": data_key_id,
        "environment": environment,
        "epoch": str(epoch),
    }


async def find(conn: AsyncConnection, data_key_id: str) -> StoredDataKey | None:
    return next(iter(await _read(conn, _KEYS.c.id == data_key_id)), None)


async def find_active(conn: AsyncConnection, environment: str) -> StoredDataKey | None:
    is_active = sa.and_(_KEYS.c.environment == environment, _KEYS.c.state == "active")
    return next(iter(await _read(conn, is_active)), None)


async def list_active(conn: AsyncConnection) -> list[StoredDataKey]:
    return await _read(conn, _KEYS.c.state == "active")


async def list_all(conn: AsyncConnection) -> list[StoredDataKey]:
    """By environment and epoch."""
    return await _read(conn, sa.true())


async def _read(conn: AsyncConnection, where: sa.ColumnElement[bool]) -> list[StoredDataKey]:
    query = sa.select(*_COLUMNS).where(where).order_by(_KEYS.c.environment, _KEYS.c.epoch)
    rows = (await conn.execute(query)).mappings().all()
    columns = (_WRAPPINGS.c.data_key_id, *(_WRAPPINGS.c[name] for name in Wrapping._fields))
    of_these = sa.select(*columns).where(_WRAPPINGS.c.data_key_id.in_([row["id"] for row in rows]))
    wrappings: dict[str, list[Wrapping]] = {row["id"]: [] for row in rows}
    for data_key_id, *fields in await conn.execute(of_these.order_by(_WRAPPINGS.c.created_at)):
        wrappings[data_key_id].append(Wrapping(*fields))
    return [StoredDataKey(**row, wrappings=tuple(wrappings[row["id"]])) for row in rows]


async def get_latest_epoch(conn: AsyncConnection, environment: str) -> int:
    """0 before the first."""
    query = sa.select(sa.func.max(_KEYS.c.epoch)).where(_KEYS.c.environment == environment)
    return (await conn.execute(query)).scalar_one() or 0


async def count_sealed(conn: AsyncConnection) -> dict[str, int]:
    """How many secret versions are sealed under each data key."""
    query = (
        sa.select(_VERSIONS.c.data_key_id, sa.func.count())
        .where(_VERSIONS.c.data_key_id.is_not(None))
        .group_by(_VERSIONS.c.data_key_id)
    )
    return {row[0]: row[1] for row in await conn.execute(query)}


async def insert(change: Change, stored: StoredDataKey) -> None:
    fields = msgspec.structs.asdict(stored)
    del fields["wrappings"]
    await change.conn.execute(sa.insert(_KEYS).values(**fields | {"created_at": change.at}))
    for wrapping in stored.wrappings:
        await insert_wrapping(change, stored.id, wrapping)


async def insert_wrapping(change: Change, data_key_id: str, wrapping: Wrapping) -> None:
    await change.conn.execute(
        sa.insert(_WRAPPINGS).values(data_key_id=data_key_id, created_at=change.at, **wrapping._asdict())
    )


async def remove_wrappings(change: Change, data_key_id: str, wrappings: Iterable[Wrapping]) -> None:
    for each in wrappings:
        await change.conn.execute(
            sa.delete(_WRAPPINGS).where(
                _WRAPPINGS.c.data_key_id == data_key_id,
                _WRAPPINGS.c.kms_backend == each.kms_backend,
                _WRAPPINGS.c.kms_key == each.kms_key,
            )
        )


async def retire(change: Change, data_key_id: str) -> None:
    await change.conn.execute(
        sa.update(_KEYS).where(_KEYS.c.id == data_key_id).values(state="retiring", retiring_at=change.at)
    )


async def destroy(change: Change, data_key_id: str) -> None:
    await change.conn.execute(sa.delete(_WRAPPINGS).where(_WRAPPINGS.c.data_key_id == data_key_id))
    await change.conn.execute(
        sa.update(_KEYS).where(_KEYS.c.id == data_key_id).values(state="destroyed", destroyed_at=change.at)
    )


async def require_living(change: Change, data_key_id: str) -> None:
    """Asked in the transaction that stores what was sealed before it began: the revision's lock keeps the answer."""
    query = sa.select(_KEYS.c.state).where(_KEYS.c.id == data_key_id)
    if (await change.conn.execute(query)).scalar_one_or_none() in {None, "destroyed"}:
        raise DataKeyDestroyed(data_key_id)
