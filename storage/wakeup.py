"""The signal "revision N is committed", from the node that changed something to all the others.

Invariant: a signal carries nothing but a number, and nobody depends on it. It may be lost, repeated, late or
forged; a node that gets one only looks sooner at what the database says, and looks there anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Protocol

from redis.asyncio.client import PubSub

from storage import redis

_log = logging.getLogger(__name__)

CHANNEL = "portreeve:revision"

_ANNOUNCE_SECONDS = 1.0
_SILENCE_SECONDS = 5.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
# 2**63 has nineteen digits: a longer message is nobody's revision.
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


class RedisWakeUp:
    """Over one publish/subscribe channel. The client is its own from here on: `aclose` closes it."""

    def __init__(
        self,
        client: redis.Client,
        channel: str = CHANNEL,
        *,
        patience_seconds: float = _ANNOUNCE_SECONDS,
        silence_seconds: float = _SILENCE_SECONDS,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._client = client
        self._channel = channel
        self._patience = patience_seconds
        self._silence = silence_seconds
        self._sleep = sleep

    async def announce(self, revision: int) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await self._client.publish(self._channel, str(revision))
        # The change stands, whatever a peer that speaks no Redis makes the library raise.
        except Exception as outage:  # noqa: BLE001  see above
            _log.warning("revision %d was not announced: %s", revision, type(outage).__name__)

    async def listen(self) -> AsyncIterator[int]:
        pause = _FIRST_PAUSE
        while True:
            try:
                async with contextlib.aclosing(self._subscribe()) as messages:
                    async for message in messages:
                        pause = _FIRST_PAUSE
                        found = _find_revision(message)
                        if found is not None:
                            yield found
            except Exception as outage:  # noqa: BLE001  likewise; the next attempt starts anew
                _log.warning("not listening for changes: %s", type(outage).__name__)
            await self._sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _subscribe(self) -> AsyncGenerator[object, None]:
        """What arrives, the confirmation of the subscription and pongs included; ends by raising."""
        with redis.translated():
            await redis.find_nodes(self._client)
        subscription = self._client.pubsub()
        try:
            with redis.translated():
                await subscription.subscribe(self._channel)
                while True:
                    yield await self._next(subscription)
        finally:
            await subscription.aclose()  # type: ignore[no-untyped-call]  # redis-py leaves it bare

    async def _next(self, subscription: PubSub) -> object:
        """A connection whose other end has vanished is silent for ever: silence is asked, and a second one
        ends it.
        """
        message = await subscription.get_message(timeout=self._silence)
        if message is None:
            await subscription.ping()
            message = await subscription.get_message(timeout=self._silence)
        if message is None:
            raise redis.RedisUnavailable("silence")
        return message


def _find_revision(message: object) -> int | None:
    """Whoever may publish may publish anything."""
    match message:
        case {"type": "message", "data": bytes(text)} if text.isdigit() and len(text) <= _DIGITS:
            return int(text)
        case _:
            return None
