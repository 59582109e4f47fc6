"""What the database itself refuses, whichever it is and whatever the code above it does."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage import schema
from storage.engine import reading, transaction

PARTNER = {"id": "acme", "name": "Acme", "tier": "standard", "created_at": 1, "revision": 1}
SECRET = {
    "id": "prk_paper_1",
    "kind": "api-key",
    "environment": "paper",
    "partner_id": "acme",
    "created_at": 1,
    "revision": 1,
}
KEY = {
    "id": "prk_paper_1",
    "partner_id": "acme",
    "environment": "paper",
    "algorithm": "hmac-sha256",
    "roles": ["trader"],
    "permissions": None,
    "cidrs": [],
    "created_at": 1,
    "revision": 1,
}
DATA_KEY = {
    "id": "dk_1",
    "environment": "paper",
    "epoch": 1,
    "state": "active",
    "created_at": 1,
}
WRAPPING = {
    "data_key_id": "dk_1",
    "kms_backend": "local",
    "kms_key": "k",
    "wrapped": b"w",
    "created_at": 1,
}
VERSION = {
    "secret_id": "prk_paper_1",
    "version": 1,
    "state": "active",
    "ciphertext": b"c",
    "data_key_id": "dk_1",
    "created_at": 1,
}


async def insert(conn: AsyncConnection, table: sa.Table, row: dict[str, Any], **changes: object) -> None:
    await conn.execute(sa.insert(table).values(**{**row, **changes}))


async def fill(conn: AsyncConnection) -> None:
    await insert(conn, schema.partners, PARTNER)
    await insert(conn, schema.secrets, SECRET)
    await insert(conn, schema.api_keys, KEY)
    await insert(conn, schema.data_keys, DATA_KEY)
    await insert(conn, schema.secret_versions, VERSION)
    await insert(conn, schema.data_key_wrappings, WRAPPING)


REFUSED = [
    (schema.api_keys, KEY, {"id": "k2", "environment": "test"}),
    (schema.api_keys, KEY, {"id": "k2", "algorithm": "none"}),
    (schema.api_keys, KEY, {"id": "k2", "partner_id": "nobody"}),
    (schema.api_keys, KEY, {"id": "k2", "roles": None}),
    (schema.data_keys, DATA_KEY, {"id": "dk_2", "state": "retiring"}),
    (schema.secret_versions, VERSION, {}),
    (schema.secret_versions, VERSION, {"version": 2, "secret_id": "nothing", "state": "retiring"}),
    (schema.secret_versions, VERSION, {"version": 2, "state": "valid"}),
    (schema.secret_versions, VERSION, {"version": 2, "state": "retiring", "data_key_id": None}),
    (schema.secret_versions, VERSION, {"version": 2, "state": "retiring", "data_key_id": "dk_9"}),
    (schema.secret_versions, VERSION, {"version": 2, "state": "retiring", "public_key": b"p"}),
    (
        schema.secret_versions,
        VERSION,
        {"version": 2, "state": "retiring", "ciphertext": None, "data_key_id": None},
    ),
    (schema.secret_versions, VERSION, {"version": 2}),
    (schema.secret_versions, VERSION, {"version": 2, "state": "destroyed"}),
    (schema.secrets, SECRET, {"id": "s", "kind": "password"}),
    (schema.secrets, SECRET, {"id": "s", "environment": "test"}),
    (schema.data_keys, DATA_KEY, {"id": "dk_2", "epoch": 2}),
    (schema.data_keys, DATA_KEY, {"id": "dk_2", "epoch": 2, "state": "lost"}),
    (schema.data_key_wrappings, WRAPPING, {}),
    (schema.data_key_wrappings, WRAPPING, {"data_key_id": "dk_9"}),
    (schema.revision, {"id": 2, "value": 0}, {}),
]


@pytest.mark.parametrize(
    ("table", "row", "changes"), REFUSED, ids=[f"{table.name}:{changes}" for table, _, changes in REFUSED]
)
async def test_what_no_code_path_may_produce_is_refused(
    engine: AsyncEngine, table: sa.Table, row: dict[str, Any], changes: dict[str, Any]
) -> None:
    """A mistake above ends in an error instead of in the store."""
    async with transaction(engine) as conn:
        await fill(conn)
    with pytest.raises(exc.IntegrityError):
        async with transaction(engine) as conn:
            await insert(conn, table, row, **changes)


async def test_a_secret_may_have_many_old_versions_one_active_and_one_to_follow(engine: AsyncEngine) -> None:
    """A rotation fits what the database allows."""
    async with transaction(engine) as conn:
        await fill(conn)
        for number, state in enumerate(["pending", "retiring", "retiring", "revoked"], start=2):
            await insert(conn, schema.secret_versions, VERSION, version=number, state=state)


async def test_a_destroyed_version_keeps_its_row_and_no_material(engine: AsyncEngine) -> None:
    """That it existed stays known."""
    async with transaction(engine) as conn:
        await fill(conn)
        gone = {"state": "destroyed", "ciphertext": None, "data_key_id": None}
        await conn.execute(sa.update(schema.secret_versions).values(**gone))


async def test_not_narrowed_and_narrowed_to_nothing_stay_apart(engine: AsyncEngine) -> None:
    """SQL's NULL and an empty list come back as what they were; JSON's null is never stored."""
    async with transaction(engine) as conn:
        await fill(conn)
        await insert(conn, schema.secrets, SECRET, id="prk_paper_2")
        await insert(conn, schema.api_keys, KEY, id="prk_paper_2", permissions=[])
    stored = schema.api_keys.c.permissions
    async with reading(engine) as conn:
        found = (await conn.execute(sa.select(stored).order_by(schema.api_keys.c.id))).scalars().all()
        nulls = await conn.scalar(sa.select(sa.func.count()).where(stored.is_(sa.null())))
    assert (list(found), nulls) == ([None, []], 1)


async def test_a_time_far_ahead_fits(engine: AsyncEngine) -> None:
    """Milliseconds pass what 32 bits hold."""
    async with transaction(engine) as conn:
        await insert(conn, schema.partners, PARTNER, created_at=2**62)
    async with reading(engine) as conn:
        assert await conn.scalar(sa.select(schema.partners.c.created_at)) == 2**62
