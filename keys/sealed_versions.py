"""The rows of secret versions whose material is sealed: read them, add one, write down what a step has changed.

Every function works inside the transaction it is given.

Invariant: what is written is the difference between two states of the rotation's machine, oldest version first, so
that a version has stopped being active before the next one is. A destroyed version has no material left.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from keys import data_key_rows, register
from keys.changes import Change
from keys.records import SecretVersion
from keys.rotation import Versions
from storage import schema

_TABLE: Final = schema.secret_versions
_FIELDS: Final = SecretVersion.__struct_fields__
_COLUMNS: Final = tuple(_TABLE.c[name] for name in _FIELDS)


class Sealed(NamedTuple):
    data_key_id: str
    ciphertext: bytes


class SealedVersion(NamedTuple):
    """`sealed` is None where no material is left, or none was ever sealed."""

    version: SecretVersion
    sealed: Sealed | None


async def read(conn: AsyncConnection, secret_id: str) -> Versions:
    query = sa.select(*_COLUMNS).where(_TABLE.c.secret_id == secret_id).order_by(_TABLE.c.version)
    return tuple(SecretVersion(**row) for row in (await conn.execute(query)).mappings())


async def read_sealed(
    conn: AsyncConnection, secret_ids: Collection[str], states: Collection[str]
) -> dict[str, list[SealedVersion]]:
    """By secret, oldest first."""
    query = (
        sa.select(_TABLE.c.secret_id, _TABLE.c.ciphertext, _TABLE.c.data_key_id, *_COLUMNS)
        .where(_TABLE.c.secret_id.in_(secret_ids), _TABLE.c.state.in_(states))
        .order_by(_TABLE.c.version)
    )
    found: dict[str, list[SealedVersion]] = {secret_id: [] for secret_id in secret_ids}
    for row in (await conn.execute(query)).mappings():
        version = SecretVersion(**{name: row[name] for name in _FIELDS})
        is_sealed = row["ciphertext"] is not None
        sealed = Sealed(row["data_key_id"], row["ciphertext"]) if is_sealed else None
        found[row["secret_id"]].append(SealedVersion(version, sealed))
    return found


async def insert(change: Change, secret_id: str, version: SecretVersion, sealed: Sealed) -> None:
    await data_key_rows.require_living(change, sealed.data_key_id)
    values = msgspec.structs.asdict(version)
    await change.conn.execute(
        sa.insert(_TABLE).values(
            secret_id=secret_id, ciphertext=sealed.ciphertext, data_key_id=sealed.data_key_id, **values
        )
    )


async def follow(change: Change, secret_id: str, before: Versions, after: Versions) -> None:
    """From `before`, as it is stored, to `after`; and the secret is stamped as changed."""
    was = {each.version: each for each in before}
    for each in sorted(after, key=lambda version: version.version):
        changed = _difference(was[each.version], each)
        if changed:
            await change.conn.execute(
                sa.update(_TABLE)
                .where(_TABLE.c.secret_id == secret_id, _TABLE.c.version == each.version)
                .values(**changed)
            )
    await register.stamp(change, secret_id)


def _difference(before: SecretVersion, after: SecretVersion) -> dict[str, object]:
    changed = {
        name: getattr(after, name) for name in _FIELDS if getattr(before, name) != getattr(after, name)
    }
    if changed.get("state") == "destroyed":
        changed |= {"ciphertext": None, "data_key_id": None}
    return changed
