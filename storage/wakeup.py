"""The signal "revision N is committed", from the node that changed something to all the others.

Invariant: a signal carries nothing but a number, and nobody depends on it. It may be lost, repeated, late or
forged; a node that gets one only looks sooner at what the database says, and looks there anyway. The signals of a
moment are kept: who was cut off is woken by what it missed, as soon as it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, NamedTuple, Protocol

from storage import redis

_log = logging.getLogger(__name__)

# One key, so one slot of a cluster.
STREAM = "portreeve:revision"

_ANNOUNCE_SECONDS = 1.0
_SILENCE_SECONDS = 5.0
# Who missed more than that looks at the revision all the same.
_KEPT = 100
_AT_ONCE = 100
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
# 2**63 has nineteen digits: a longer number is nobody's revision.
_DIGITS = 19

Sleep = Callable[[float], Awaitable[None]]


class WakeUp(Protocol):
    """Best effort in both directions. `announce` comes after the commit, so it never raises for an outage: it
    would tell the caller that a change failed which stands. `listen` outlives every outage; it ends when it
    is cancelled.
    """

    async def announce(self, revision: int) -> None: ...

    def listen(self) -> AsyncIterator[int]: ...

    async def aclose(self) -> None: ...


class NoWakeUp:
    """For a node without Redis: polling alone."""

    async def announce(self, revision: int) -> None:
        pass

    async def listen(self) -> AsyncIterator[int]:
        await asyncio.Event().wait()
        yield 0  # unreachable, and what makes this a generator

    async def aclose(self) -> None:
        pass


class _Place(NamedTuple):
    """The id of an entry: ids of one stream grow, by the clock of whichever server gave them."""

    at: int
    nth: int

    def __str__(self) -> str:
        return f"{self.at}-{self.nth}"


class _Entry(NamedTuple):
    place: _Place
    revision: int | None


_NOWHERE = _Entry(_Place(0, 0), None)


class RedisWakeUp:
    """Over one short stream, which every node reads on from the entry it saw last. The clients are its own from here
    on: `aclose` closes them. `listening` has to be a patient one: nothing new is no outage.
    """

    def __init__(  # noqa: PLR0913  the ways there, and what a test replaces
        self,
        announcing: redis.Client,
        listening: redis.Client,
        stream: str = STREAM,
        *,
        patience_seconds: float = _ANNOUNCE_SECONDS,
        silence_seconds: float = _SILENCE_SECONDS,
        sleep: Sleep = asyncio.sleep,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._announcing = announcing
        self._listening = listening
        self._stream = stream
        self._patience = patience_seconds
        self._silence = silence_seconds
        self._sleep = sleep
        self._entropy = entropy
        self._seen: _Place | None = None

    async def announce(self, revision: int) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await self._announcing.xadd(
                    self._stream, {"revision": str(revision)}, maxlen=_KEPT, approximate=True
                )
        # The change stands, whatever a peer that speaks no Redis makes the library raise.
        except Exception as outage:  # noqa: BLE001  see above
            _log.warning("revision %d was not announced: %s", revision, type(outage).__name__)

    async def listen(self) -> AsyncIterator[int]:
        pause = _FIRST_PAUSE
        while True:
            try:
                async with contextlib.aclosing(self._follow()) as told:
                    async for revision in told:
                        pause = _FIRST_PAUSE
                        if revision is not None:
                            yield revision
            except Exception as outage:  # noqa: BLE001  likewise; the next attempt starts anew
                _log.warning("not listening for changes: %s", type(outage).__name__)
            await self._sleep(self._spread(pause))
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def aclose(self) -> None:
        await self._announcing.aclose()
        await self._listening.aclose()

    async def _follow(self) -> AsyncGenerator[int | None, None]:
        """What is announced, and None for what says nothing but that the way there is open; ends by raising."""
        async with self._bounded():
            await redis.find_nodes(self._listening)
        while True:
            last = await self._find_last()
            # Before everything, or before what this node saw: a stream that is new to it.
            if self._seen is None or last.place < self._seen:
                self._seen = last.place
                if last.revision is not None:
                    yield last.revision
            while entries := await self._wait(self._seen):
                for entry in entries:
                    self._seen = entry.place
                    yield entry.revision
            yield None

    async def _find_last(self) -> _Entry:
        async with self._bounded():
            found = await self._listening.xrevrange(self._stream, count=1)
        return next(_read(found), _NOWHERE)

    async def _wait(self, seen: _Place) -> list[_Entry]:
        """What follows, as soon as there is any; nothing after a silence, which the server tells."""
        silence_ms = int(self._silence * 1000)
        async with self._bounded():
            found: Any = await self._listening.xread(
                {self._stream: str(seen)}, count=_AT_ONCE, block=silence_ms
            )
        return [entry for _, entries in found for entry in _read(entries)]

    @contextlib.asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        """A server that says nothing for longer than it was asked to be silent has vanished."""
        with redis.translated():
            async with asyncio.timeout(self._silence + self._patience):
                yield

    def _spread(self, pause: float) -> float:
        """Nodes that lost the same server do not come back to it all at once."""
        return pause * (0.5 + self._entropy(1)[0] / 510)


def _read(entries: Any) -> Iterator[_Entry]:  # noqa: ANN401  as the library gives them
    for written, fields in entries:
        at, _, nth = written.partition(b"-")
        yield _Entry(_Place(int(at), int(nth)), _find_revision(fields))


def _find_revision(fields: object) -> int | None:
    """Whoever may write to the stream may write anything."""
    match fields:
        case {b"revision": bytes(text)} if text.isdigit() and len(text) <= _DIGITS:
            return int(text)
        case _:
            return None
