"""A process that does nothing but what schedules ask of a ring and of data keys, hour after hour, until it is killed.

Its clock stands where the ledger ends and goes on by an hour a turn. It says `ready` on stdout once it has begun.
"""

import asyncio
import os
import sys
from pathlib import Path

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from keys import scheduler
from keys.changes import Author, Changes
from keys.data_key_upkeep import DataKeyUpkeep
from keys.data_keys import DataKeys
from keys.kms.local import LocalKms
from keys.ring import Ring
from keys.ring_rotation import RingRotation, RingTimes
from keys.ring_upkeep import RingUpkeep
from keys.scheduler import Upkeep
from keys.schedules import DAY_MS, DEFAULTS, HOUR_MS, ScheduledKind, Schedules
from keys.wrappers import Wrappers
from storage import audit, wakeup
from storage import engine as storage_engine
from tests.support.custody import START_MS, FakeClock

URL = "PORTREEVE_TEST_STORE"
MASTER_KEY = "PORTREEVE_TEST_MASTER_KEY"
AUTHOR = Author("upkeeping")
TIMES = RingTimes(lifetime_ms=30_000)
# Something is due at nearly every turn.
KINDS: tuple[ScheduledKind, ...] = ("ring", "data-key")
QUICK = {
    "max_age_ms": 4 * HOUR_MS,
    "overlap_ms": HOUR_MS,
    "announce_ahead_ms": HOUR_MS,
    "destroy_after_ms": HOUR_MS,
}


class Kept(msgspec.Struct, frozen=True, eq=False):
    clock: FakeClock
    data_keys: DataKeys
    ring: Ring
    upkeep: tuple[Upkeep, ...]

    async def turn(self) -> tuple[scheduler.Outcome, ...]:
        self.clock.now_ms += HOUR_MS
        return await scheduler.run_due(self.upkeep, author=AUTHOR)


async def build(engine: AsyncEngine, master_key: Path) -> Kept:
    async with storage_engine.reading(engine) as conn:
        latest = await audit.tail(conn, 1)
    clock = FakeClock(latest[-1].event.at if latest else START_MS)
    changes = Changes(engine, wakeup.NoWakeUp(), clock)
    data_keys = DataKeys(engine, Wrappers(LocalKms(master_key)), changes, os.urandom, clock=clock)
    ring = Ring(engine, data_keys, changes, clock, os.urandom)
    schedules = Schedules(
        configured={
            (kind, "service"): msgspec.structs.replace(
                DEFAULTS[kind], **QUICK | {"longest_overlap_ms": DAY_MS}
            )
            for kind in KINDS
        }
    )
    upkeep: tuple[Upkeep, ...] = (
        RingUpkeep(engine, changes, clock, [RingRotation(ring, changes, TIMES)], schedules),
        DataKeyUpkeep(engine, data_keys, clock, schedules),
    )
    return Kept(clock, data_keys, ring, upkeep)


async def main() -> None:
    engine = storage_engine.open_engine(os.environ[URL])
    kept = await build(engine, Path(os.environ[MASTER_KEY]))
    while True:
        await kept.turn()
        sys.stdout.write("ready\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
