"""Requests that go on without tasks, with them, and back: driven at random, so that what holds what is let go once.

Invariant: the same randomness drives the same way.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any, NamedTuple

from compiled.steps import Together, Turns, Wait

_REQUESTS = 6
_CONNECTIONS = 5
_WAITS = 4
_CAME = (None, b"bytes", "text", 7, ("a", "tuple"), StopIteration("kept"), ["list"])


class Driven(NamedTuple):
    """How many requests began, how many of them ended by themselves, and how many waits gave what had come."""

    begun: int
    ended: int
    given: int


class _Drive:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._open: list[Wait[Any]] = []
        self.begun = self.ended = self.given = 0

    async def serve(self, _: object) -> None:
        self.begun += 1
        for _ in range(self._chance.randrange(_WAITS + 1)):
            if self._chance.random() < 0.2:
                await asyncio.sleep(0)
            wait: Wait[Any] = Wait(asyncio.get_running_loop())
            self._open.append(wait)
            self.given += await wait is wait.result()

    def finish(self, _: object, failure: BaseException | None) -> None:
        self.ended += failure is None

    def settle_one(self) -> None:
        wait = self._open.pop(self._chance.randrange(len(self._open)))
        fate = self._chance.random()
        if wait.done():
            return
        if fate < 0.1:
            wait.cancel()
        elif fate < 0.2:
            wait.set_exception(LookupError())
        else:
            wait.set_result(self._chance.choice(_CAME))

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        tasks: set[Any] = set()
        together = Together(loop)
        connections: list[Turns[object]] = [
            Turns(together, tasks, self.serve, self.finish) for _ in range(_CONNECTIONS)
        ]
        for connection in connections * _REQUESTS:
            if connection not in tasks:
                connection.take(object())
            if self._chance.random() < 0.05:
                connection.cancel()
            await asyncio.sleep(0)
            if self._open:
                self.settle_one()
        while tasks:
            await asyncio.sleep(0)
            while self._open:
                self.settle_one()


def drive(chance: random.Random, rounds: int) -> Driven:
    driven = _Drive(chance)
    for _ in range(rounds):
        asyncio.run(driven.run())
    return Driven(driven.begun, driven.ended, driven.given)
