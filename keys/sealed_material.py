"""The versions of secrets with what they are sealed as, for whoever opens them. Inside the transaction it is given.

Invariant: what is read here is as it is stored; nothing is opened. How rows come to be and go on is `versions`'.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from keys.records import SecretVersion
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


async def read(
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
