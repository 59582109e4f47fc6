"""What `portreeve init` makes: the schema, the keys that wrap data keys, the first data keys and signing key.

Invariant: running it again changes nothing that is there. Refused: to make a new master key, in a file or an HSM,
where the store holds data keys that an earlier one wrapped, because it would only hide that one's loss.
"""

import os
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from auth.admission import handover
from gateway import composition, kms_keys
from gateway.settings import KmsKeySettings, Settings
from keys import checkpoint_memory, checkpoints
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
        is_new = await _is_empty(engine)
        keys = [table for table in (settings.kms, settings.kms.second) if table is not None]
        made = [await _ensure_key(table, is_new=is_new) for table in keys]
    # A key that was there may have served others before; one that is nobody's file never has.
    if made[0] or (is_new and settings.kms.backend != "local"):
        handover.begin(Path(settings.service.state_dir))
    async with composition.opened_store(settings, clock, entropy) as store:
        for environment in ENVIRONMENTS:
            await store.data_keys.get_current(environment)
        for ring in (store.ring, store.ledger_ring, store.access_ring):
            await ring.ensure(author=author)
        if is_new:
            await _sign_the_beginning(store, author)
    return [
        f"schema {revision} in {settings.storage.url}",
        *(
            f"{kms_keys.describe(table)} ({'made' if new else 'was there'})"
            for table, new in zip(keys, made, strict=True)
        ),
        f"data keys for {', '.join(ENVIRONMENTS)} and our own signing keys",
        "a signing key for identity assertions",
        "a signing key for access tokens",
        "a signing key for checkpoints of the audit ledger",
    ]


async def _sign_the_beginning(store: composition.Store, author: Author) -> None:
    """So that no later checkpoint can pass for the first. A host that remembers another ledger is told to let go."""
    try:
        await store.checkpoints.make()
    except (checkpoints.LedgerReplaced, checkpoint_memory.MemoryUnreadable):
        await store.ledger_restores.acknowledge(author=author)


async def _is_empty(engine: AsyncEngine) -> bool:
    async with sql.reading(engine) as conn:
        return (await conn.execute(sa.select(schema.data_keys.c.id).limit(1))).first() is None


async def _ensure_key(table: KmsKeySettings, *, is_new: bool) -> bool:
    if await kms_keys.has_key(table):
        return False
    if not is_new:
        raise MasterKeyLost(
            f"there is no {kms_keys.describe(table)}, but the store holds data keys: restore it. "
            "If it is a new key to move to, `portreeve kms create` makes it"
        )
    await kms_keys.create_key(table)
    return True
