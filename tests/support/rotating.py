"""A process that does nothing but rotate one secret, prepare, activate, retire and destroy, until it is killed.

It says `ready` on stdout once it has begun. Where it acts is told by its environment.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from keys import register
from keys.api_key_secrets import ApiKeySecrets
from keys.changes import Author, Changes
from keys.custody import Custody
from keys.data_keys import DataKeys
from keys.kinds import Kind
from keys.kms.local import LocalKms
from keys.rotations import Rotations, Wish
from keys.schedules import Schedules
from keys.wrappers import Wrappers
from storage import engine as storage_engine
from storage import wakeup

URL = "PORTREEVE_TEST_STORE"
MASTER_KEY = "PORTREEVE_TEST_MASTER_KEY"
SECRET = "PORTREEVE_TEST_SECRET_ID"
AUTHOR = Author("rotating")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def build(engine: AsyncEngine, master_key: Path) -> tuple[Custody, DataKeys, Rotations]:
    changes = Changes(engine, wakeup.NoWakeUp(), now_ms)
    data_keys = DataKeys(engine, Wrappers(LocalKms(master_key)), changes, os.urandom, clock=now_ms)
    kinds: dict[register.Kind, Kind] = {"api-key": ApiKeySecrets(engine, data_keys, os.urandom)}
    custody = Custody(engine, data_keys, changes, now_ms, os.urandom)
    return custody, data_keys, Rotations(engine, changes, now_ms, kinds, Schedules())


async def rotate_on(rotations: Rotations, secret_id: str) -> None:
    while True:
        retired = (await rotations.rotate(secret_id, author=AUTHOR)).replaced
        await rotations.retire(secret_id, author=AUTHOR)
        if retired is not None:
            await rotations.destroy(secret_id, retired, author=AUTHOR)
        await rotations.rotate(secret_id, Wish(prepare=True), author=AUTHOR)
        await rotations.activate(secret_id, author=AUTHOR)
        sys.stdout.write("ready\n")
        sys.stdout.flush()


async def main() -> None:
    engine = storage_engine.open_engine(os.environ[URL])
    _, _, rotations = build(engine, Path(os.environ[MASTER_KEY]))
    await rotate_on(rotations, os.environ[SECRET])


if __name__ == "__main__":
    asyncio.run(main())
