"""After a restore: the ledger is not the one that this host remembers, and somebody says that it is to go on.

Invariant: what is acknowledged is in the ledger, with what was remembered and what was found, before this host forgets;
and a checkpoint is signed over that at once. Refuses where there is nothing to acknowledge, so that nobody makes a
habit of it, and a ledger whose last checkpoint none of our keys has signed.
"""

import asyncio
import logging
from typing import Final

from keys import checkpoint_memory, checkpoints, refusals, statements
from keys.changes import Author, Changes

_LOG: Final = logging.getLogger("portreeve.keys")
ACTION: Final = "ledger.acknowledged"


class NothingToAcknowledge(refusals.Conflict):
    def __init__(self) -> None:
        super().__init__(
            "the ledger contains all that this host remembers of it: there is nothing to acknowledge"
        )


class LedgerRestores:
    def __init__(
        self, checkpoints_: checkpoints.Checkpoints, memory: checkpoint_memory.Memory, changes: Changes
    ) -> None:
        self._checkpoints = checkpoints_
        self._memory = memory
        self._changes = changes

    async def acknowledge(self, *, author: Author) -> checkpoints.Stored:
        """The checkpoint that covers the acknowledgement."""
        remembered: checkpoint_memory.Remembered | None = None
        try:
            remembered = await asyncio.to_thread(self._memory.recall)
            await self._checkpoints.require_remembered()
        except (checkpoint_memory.MemoryUnreadable, checkpoints.LedgerReplaced) as reason:
            _LOG.warning("acknowledged: %s", reason)
        else:
            raise NothingToAcknowledge
        found = await self._checkpoints.read_latest()
        details = {
            "remembered": None if remembered is None else _told(remembered.mark),
            "found": None if found is None else _told(found.mark),
        }
        async with self._changes.begin(author) as change:
            await change.record(ACTION, "ledger", details=details)
        seen = checkpoint_memory.NOTHING if found is None else checkpoint_memory.of(found)
        await asyncio.to_thread(self._memory.replace, seen)
        made = await self._checkpoints.make()
        assert made is not None  # noqa: S101  the ledger has one entry at least: the acknowledgement
        return made


def _told(mark: statements.Mark) -> dict[str, int | str]:
    return {"seq": mark.seq, "root": mark.root}
