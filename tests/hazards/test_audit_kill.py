"""`kill -9` in the middle of an audit append: what is found afterwards is whole, and verifies."""

from __future__ import annotations

import multiprocessing
import os
import random
import time

from sqlalchemy.ext.asyncio import AsyncEngine

from storage import audit
from storage.engine import reading
from tests.support import custody, ledger

KILLS = 20


async def test_a_ledger_whose_writer_is_killed_is_whole(engine: AsyncEngine, migrated_url: str) -> None:
    """Twenty times, at any moment: no entry is torn, no number is missing, and what was told as committed is there."""
    kept = await ledger.build(custody.build_room(engine))
    chance = random.Random(9)
    # Each writer is forked from one that has everything imported, and has never had a connection.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.ledger"])
    async with reading(engine) as conn:
        revisions = [entry.event.revision for entry in await audit.read_after(conn, 0, 100)]
    begun = len(revisions)
    for _ in range(KILLS):
        told, tells = context.Pipe(duplex=False)
        writer = context.Process(target=ledger.append_for_ever, args=(migrated_url, tells), daemon=True)
        writer.start()
        tells.close()
        committed = len(os.read(told.fileno(), 1)) + count(told.fileno(), chance.randrange(4))
        # Not to wait for anything: it moves the blow to any place within an append.
        time.sleep(chance.random() / 200)  # noqa: ASYNC251  nothing else runs on this loop
        writer.kill()
        writer.join()
        committed += count(told.fileno(), None)
        told.close()
        report = await kept.verify_store()
        async with reading(engine) as conn:
            found = await audit.read_after(conn, 0, 100_000)
        entries = [entry for entry in found if entry.seq <= report.last]
        assert [entry.seq for entry in entries] == list(range(1, report.last + 1))
        grown = {entry.event.revision for entry in entries} - set(revisions)
        # One more may have been committed than could be told, and a server may still be at it when its client is dead.
        assert committed <= len(grown) <= committed + 2
        for revision in grown:
            parts = sum(entry.event.revision == revision for entry in entries)
            assert parts == 1 + revision % 3
        revisions += grown
        await kept.checkpoints.make()
    assert len(revisions) - begun >= KILLS


def count(descriptor: int, upto: int | None) -> int:
    """The bytes that came: so many, or all until there are no more."""
    found = 0
    while upto is None or found < upto:
        piece = os.read(descriptor, 65_536 if upto is None else 1)
        if not piece:
            break
        found += len(piece)
    return found
