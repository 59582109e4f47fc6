"""`kill -9` in the middle of what schedules ask for, over both kinds of store: whoever comes next finds it whole."""

import random
from collections import Counter
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from keys import data_key_rows, versions
from keys.kms.local import LocalKms
from storage import audit, chain, schema
from storage import engine as storage_engine
from tests.support import killing, upkeeping

KILLS = 6
LONGEST_S = 0.2
RING = "ring_identity"


async def require_whole(opened: AsyncEngine, kept: upkeeping.Kept) -> None:
    async with storage_engine.reading(opened) as conn:
        held = await versions.read(conn, RING)
        epochs = await data_key_rows.list_all(conn)
        entries = await audit.read_after(conn, 0, 1_000_000)
        table = schema.secret_versions
        sealed = (await conn.execute(sa.select(table.c.state, table.c.ciphertext))).all()
    states = Counter(version.state for version in held)
    assert states["active"] == 1
    assert states["pending"] <= 1
    assert [each.epoch for each in epochs] == list(range(1, len(epochs) + 1))
    assert Counter(each.state for each in epochs)["active"] == 1
    assert all((ciphertext is None) == (state == "destroyed") for state, ciphertext in sealed)
    # Each version and each epoch has its event, and each event what it tells of.
    told = Counter(entry.event.action for entry in entries)
    assert told["ring_key.created"] + told["ring_key.announced"] == len(held)
    assert told["data_key.created"] == len(epochs)
    assert told["ring_key.destroyed"] == states["destroyed"]
    previous = chain.BEFORE_THE_FIRST
    for entry in entries:
        said = {name: getattr(entry.event, name) for name in audit.AuditEvent.__struct_fields__}
        assert chain.link({**said, "seq": entry.seq, "previous": previous}) == entry.hash
        previous = entry.hash
    # Whatever is published opens.
    await kept.ring.refresh()
    assert kept.ring.get_signer().kid in {jwk["kid"] for jwk in kept.ring.jwks()}


async def test_upkeep_that_was_killed_has_done_each_step_or_not(
    migrated_url: str, engine: AsyncEngine, tmp_path: Path
) -> None:
    """One key signs, every key opens, each step has its event; and the next node goes on where this one ended."""
    master_key = tmp_path / "master.key"
    LocalKms.create(master_key)
    await (await upkeeping.build(engine, master_key)).ring.ensure(author=upkeeping.AUTHOR)
    moments = random.Random(20_251_120)
    told = {upkeeping.URL: migrated_url, upkeeping.MASTER_KEY: str(master_key)}
    for _ in range(KILLS):
        killing.kill_at("tests.support.upkeeping", told, moments.uniform(0, LONGEST_S))
        kept = await upkeeping.build(engine, master_key)
        await require_whole(engine, kept)
        done = [outcome for _ in range(6) for outcome in await kept.turn()]
        assert {one.failure for one in done} == {None}
        assert {"announce", "activate", "rotate"} <= {one.action.step for one in done}
        await require_whole(engine, kept)
