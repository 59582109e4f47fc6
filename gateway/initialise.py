"""What `portreeve init` makes: the schema, the local KMS's master key, the first data keys and signing key.

Invariant: running it again changes nothing that is there. Refused: to make a new master key where the store
holds keys that an earlier one wrapped, because they would be lost behind it; restore the old file instead.
"""

import os
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from auth.admission import handover
from gateway import composition
from gateway.settings import Settings
from keys.changes import Author, Clock
from keys.environment import ENVIRONMENTS
from storage import engine as sql
from storage import migrate, schema


class MasterKeyLost(Exception):
    """The store holds wrapped keys, and the master key that opens them is not there."""


async def initialise(
    settings: Settings, clock: Clock, entropy: composition.Entropy, *, author: Author
) -> list[str]:
    """Answers with what is there now, a line each."""
    os.makedirs(settings.service.state_dir, mode=0o700, exist_ok=True)  # noqa: PTH103  once, before anything waits
    async with composition.opened_engine(settings) as engine:
        revision = await migrate.upgrade(engine)
        made = await _ensure_master_key(settings, engine)
    if made:
        handover.begin(Path(settings.service.state_dir))
    async with composition.opened_store(settings, clock, entropy) as store:
        for environment in ENVIRONMENTS:
            await store.data_keys.get_current(environment)
        for ring in (store.ring, store.ledger_ring):
            await ring.ensure(author=author)
    return [
        f"schema {revision} in {settings.storage.url}",
        f"master key {composition.master_key_file(settings)} ({'made' if made else 'was there'})",
        f"data keys for {', '.join(ENVIRONMENTS)}",
        "a signing key for identity assertions, and one for the ledger",
    ]


async def _ensure_master_key(settings: Settings, engine: AsyncEngine) -> bool:
    file = composition.master_key_file(settings)
    if file.exists():
        return False
    async with sql.reading(engine) as conn:
        wrapped = (await conn.execute(sa.select(schema.data_keys.c.id).limit(1))).first()
    if wrapped is not None:
        raise MasterKeyLost(
            f"there is no master key at {file}, but the store holds keys that one wrapped: restore it"
        )
    composition.create_master_key(settings)
    return True
