"""`kill -9` in the middle of rotations, over both kinds of store: whoever comes next finds one whole state."""

import random
from collections import Counter
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from keys import api_keys, rotation
from keys.data_keys import DataKeys
from keys.environment import Environment
from keys.kms.local import LocalKms
from keys.records import KeyRequest
from keys.rotations import Rotations
from storage import audit, chain, revision, schema
from storage import engine as storage_engine
from tests.support import killing, rotating

KILLS = 10
LONGEST_S = 0.25
ENVIRONMENT: Environment = "paper"
# By what each version came to be and went on, as the ledger tells it.
MADE = {"api_key.created", "secret.rotated", "secret.announced"}


def kill_at(url: str, master_key: Path, secret_id: str, delay_s: float) -> None:
    """Let it rotate, and end it without a goodbye so long after it has begun."""
    told = {rotating.URL: url, rotating.MASTER_KEY: str(master_key), rotating.SECRET: secret_id}
    killing.kill_at("tests.support.rotating", told, delay_s)


async def require_whole(opened: AsyncEngine, data_keys: DataKeys, secret_id: str) -> None:
    async with storage_engine.reading(opened) as conn:
        table = schema.secret_versions
        query = sa.select(table).where(table.c.secret_id == secret_id).order_by(table.c.version)
        rows = [dict(row) for row in (await conn.execute(query)).mappings()]
        entries = await audit.read_after(conn, 0, 1_000_000)
        head = await audit.head(conn)
        current = await revision.current(conn)
    states = Counter(row["state"] for row in rows)
    assert states["active"] == 1
    assert states["pending"] <= 1
    assert states["active"] + states["retiring"] <= 2
    for row in rows:
        assert (row["ciphertext"] is None) == (row["state"] == "destroyed")
        if row["ciphertext"] is not None:
            data_key = await data_keys.get(row["data_key_id"])
            opened_secret = api_keys.open_secret(
                data_key,
                row["ciphertext"],
                key_id=secret_id,
                version=row["version"],
                environment=ENVIRONMENT,
            )
            assert opened_secret.startswith(b"prs_")
    made = [entry.event.action for entry in entries if entry.event.action in MADE]
    assert len(made) == len(rows), "a version without its event, or an event without its version"
    previous = chain.BEFORE_THE_FIRST
    for entry in entries:
        said = {name: getattr(entry.event, name) for name in audit.AuditEvent.__struct_fields__}
        assert entry.previous == previous
        assert chain.link({**said, "seq": entry.seq, "previous": previous}) == entry.hash
        previous = entry.hash
    assert head == (len(entries), previous)
    assert entries[-1].event.revision == current


async def finish(rotations: Rotations, secret_id: str) -> None:
    """As an operator would who finds a rotation half way: what waits is activated, and the next one goes through."""
    found = await rotations.get(secret_id)
    if rotation.find_pending(found.versions) is not None:
        await rotations.activate(secret_id, author=rotating.AUTHOR)
    await rotations.rotate(secret_id, author=rotating.AUTHOR)


async def test_a_rotation_that_was_killed_is_whole_or_was_not(
    migrated_url: str, engine: AsyncEngine, tmp_path: Path
) -> None:
    """Every version opens, one is active, the ledger has an event for each and verifies; rotating goes on."""
    master_key = tmp_path / "master.key"
    LocalKms.create(master_key)
    custody, data_keys, rotations = rotating.build(engine, master_key)
    await custody.create_partner("acme", "Acme", "standard", author=rotating.AUTHOR)
    request = KeyRequest(partner="acme", environment=ENVIRONMENT, algorithm="hmac-sha256", roles=("trader",))
    secret_id = (await custody.create_key(request, author=rotating.AUTHOR)).key.id
    moments = random.Random(20_251_120)
    for _ in range(KILLS):
        kill_at(migrated_url, master_key, secret_id, moments.uniform(0, LONGEST_S))
        await require_whole(engine, data_keys, secret_id)
        await finish(rotations, secret_id)
        await require_whole(engine, data_keys, secret_id)
