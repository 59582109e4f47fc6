"""What a store of an earlier program holds is there after the upgrade, with the same meaning."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import audit, chain, migrate, schema
from storage import engine as storage_engine
from storage.engine import reading, transaction

FIRST: dict[str, list[dict[str, Any]]] = {
    "partners": [{"id": "acme", "name": "Acme", "tier": "standard", "created_at": 1, "revision": 1}],
    "api_keys": [
        {
            "id": f"prk_paper_{number}",
            "partner_id": "acme",
            "environment": "paper",
            "algorithm": "hmac-sha256",
            "roles": json.dumps(["trader"]),
            "cidrs": "[]",
            "label": "desk",
            "created_at": 5,
            "revoked_at": 9 if number == 2 else None,
            "revision": 3,
        }
        for number in (1, 2)
    ],
    "data_keys": [
        {
            "id": f"dk_{epoch}",
            "environment": "paper",
            "epoch": epoch,
            "wrapped": b"w%d" % epoch,
            "kms_backend": "local",
            "kms_key": "k",
            "created_at": 1,
        }
        for epoch in (1, 2)
    ],
    "secret_versions": [
        {
            "key_id": f"prk_paper_{number}",
            "version": 1,
            "state": "revoked" if number == 2 else "active",
            "ciphertext": b"c",
            "data_key_id": "dk_1",
            "created_at": 5,
            "last_used_at": 7,
            "last_used_source": "192.0.2.1",
            "use_count": 12,
        }
        for number in (1, 2)
    ],
    "ring_keys": [
        {
            "id": f"kid-{state}",
            "ring": "identity",
            "state": state,
            "algorithm": "EdDSA",
            "public_jwk": "{}",
            "ciphertext": b"r",
            "data_key_id": "dk_1",
            "created_at": created_at,
            "not_after": not_after,
            "revision": created_at,
        }
        for state, created_at, not_after in (("retired", 1, 50), ("current", 2, None), ("next", 3, None))
    ],
    "audit_events": [
        {"at": 2, "actor": "cli:é", "action": "partner.created", "subject": "acme", "details": "{}"},
        {"at": 3, "actor": "init", "action": "x", "subject": "y", "details": '{"b": [1], "a": null}'},
    ],
}


def _fill(conn: Connection) -> None:
    config = migrate._config()
    config.attributes["connection"] = conn
    command.upgrade(config, "0001")
    for name, rows in FIRST.items():
        for row in rows:
            columns = ", ".join(row)
            values = ", ".join(f":{column}" for column in row)
            conn.execute(sa.text(f"INSERT INTO {name} ({columns}) VALUES ({values})"), row)  # noqa: S608  our own names
    conn.execute(sa.text("UPDATE revision SET value = 3"))


@pytest.fixture
async def upgraded(database_url: str) -> AsyncIterator[AsyncEngine]:
    opened = storage_engine.open_engine(database_url)
    async with transaction(opened) as conn:
        await conn.run_sync(_fill)
    await migrate.upgrade(opened)
    yield opened
    await opened.dispose()


async def rows_of(engine: AsyncEngine, table: sa.Table) -> list[dict[str, Any]]:
    order = list(table.primary_key.columns)
    async with reading(engine) as conn:
        return [dict(row) for row in (await conn.execute(sa.select(table).order_by(*order))).mappings()]


async def test_keys_keep_their_secrets_and_their_use(upgraded: AsyncEngine) -> None:
    """With when they were made and revoked, which earlier stood beside the key alone."""
    versions = {row["secret_id"]: row for row in await rows_of(upgraded, schema.secret_versions)}
    living, revoked = versions["prk_paper_1"], versions["prk_paper_2"]
    assert (living["state"], living["ciphertext"], living["data_key_id"]) == ("active", b"c", "dk_1")
    assert (living["activated_at"], living["revoked_at"], living["use_count"]) == (5, None, 12)
    assert (living["last_used_at"], living["last_used_source"]) == (7, "192.0.2.1")
    assert (revoked["state"], revoked["revoked_at"]) == ("revoked", 9)
    assert [row["roles"] for row in await rows_of(upgraded, schema.api_keys)] == [["trader"]] * 2


async def test_a_ring_becomes_a_secret_whose_versions_are_its_keys(upgraded: AsyncEngine) -> None:
    """In the order in which they were made, each under the id by which others know it."""
    found = [row for row in await rows_of(upgraded, schema.secret_versions) if row["public_id"]]
    assert [(row["version"], row["state"], row["public_id"], row["retires_at"]) for row in found] == [
        (1, "retiring", "kid-retired", 50),
        (2, "active", "kid-current", None),
        (3, "pending", "kid-next", None),
    ]
    rings = [row for row in await rows_of(upgraded, schema.secrets) if row["kind"] == "ring"]
    assert [(row["id"], row["environment"], row["revision"]) for row in rings] == [
        ("ring_identity", "service", 3)
    ]


async def test_the_newest_data_key_goes_on_sealing(upgraded: AsyncEngine) -> None:
    """And each keeps what the KMS wrapped."""
    assert [(row["id"], row["state"]) for row in await rows_of(upgraded, schema.data_keys)] == [
        ("dk_1", "retiring"),
        ("dk_2", "active"),
    ]
    wrappings = await rows_of(upgraded, schema.data_key_wrappings)
    assert [(row["data_key_id"], row["wrapped"]) for row in wrappings] == [("dk_1", b"w1"), ("dk_2", b"w2")]


async def test_what_was_recorded_is_chained_and_goes_on(upgraded: AsyncEngine) -> None:
    """A new entry follows the last old one."""
    event = audit.AuditEvent(at=4, revision=4, actor="a", action="b", subject="c")
    async with transaction(upgraded) as conn:
        await audit.append(conn, event)
    entries = await rows_of(upgraded, schema.audit_events)
    assert [entry["previous"] for entry in entries] == [
        chain.BEFORE_THE_FIRST,
        *(entry["hash"] for entry in entries[:-1]),
    ]
    for entry in entries:
        stated = entry.pop("hash")
        assert chain.link(entry) == stated
    assert [entry["seq"] for entry in entries] == [1, 2, 3]
