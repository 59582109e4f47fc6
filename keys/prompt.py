"""Those who follow the store right after the directory has, each in a task of its own.

Invariant: one that fails or hangs keeps no other back, nor the directory for longer than `PATIENCE_S`; it is asked
again until it has followed. Whoever was still at an earlier look counts as behind, since that may have been too early.
"""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from keys.attempt import Attempt

# Well within the second in which every node knows of a revocation, together with a poll.
PATIENCE_S: Final = 0.5


class Companion(Protocol):
    """Something else that follows the store's revision, such as a key ring.

    When it raises it keeps its last state, and is asked again.
    """

    async def refresh(self) -> None: ...


class Followers:
    def __init__(self, companions: Sequence[Companion], patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._companions = tuple(
            (each, Attempt(f"{type(each).__name__} cannot follow; its last state is served"))
            for each in companions
        )
        self._looking: dict[Companion, asyncio.Task[bool]] = {}
        # Whether somebody has not followed what the store said last.
        self.is_late = False

    async def load(self) -> None:
        """The first look: all of them, or an exception."""
        for companion, _ in self._companions:
            await companion.refresh()

    async def follow(self) -> None:
        before = frozenset(self._looking)
        for companion, attempt in self._companions:
            if companion not in before:
                self._looking[companion] = asyncio.create_task(attempt.run(companion.refresh))
        if not self._looking:
            return
        ended, hanging = await asyncio.wait(self._looking.values(), timeout=self._patience_s)
        self._looking = {each: task for each, task in self._looking.items() if task in hanging}
        self.is_late = bool(before or hanging) or not all(task.result() for task in ended)

    async def end(self) -> None:
        for task in self._looking.values():
            task.cancel()
        await asyncio.gather(*self._looking.values(), return_exceptions=True)
        self._looking = {}
