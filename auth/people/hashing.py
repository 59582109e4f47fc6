"""Argon2id, in a small pool of its own: what a password costs is never paid by the loop that serves requests.

Invariant: at most `workers` are worked out at a time and `waiting` wait; whoever comes then is refused at once, and has
cost nothing. A password is hashed with the parameters of today; what was hashed with others verifies, and is told to
be outdated. Somebody who does not exist costs what everybody costs: `decoy` is a hash that no password has.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar

import argon2
import msgspec
from argon2.exceptions import InvalidHashError, VerificationError

from auth.people.failures import HashingBusy

SALT_BYTES: Final = 16
TAG_BYTES: Final = 32
# Politer than whatever serves requests on the same cores, which a flood of passwords must not slow down.
_NICENESS: Final = 10

Made = TypeVar("Made")


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    memory_kib: int
    passes: int
    lanes: int


# The memory and the passes of RFC 9106's second recommendation, far above the least that OWASP asks for (19 MiB, two
# passes). One lane for its four: a lane is a thread, and would be taken from those who are signed in already.
PARAMETERS: Final = Parameters(memory_kib=64 * 1024, passes=3, lanes=1)


class PasswordHashes:
    def __init__(
        self,
        entropy: Callable[[int], bytes],
        parameters: Parameters = PARAMETERS,
        *,
        workers: int = 1,
        waiting: int = 16,
    ) -> None:
        self._entropy = entropy
        self._hasher = argon2.PasswordHasher(
            time_cost=parameters.passes,
            memory_cost=parameters.memory_kib,
            parallelism=parameters.lanes,
            hash_len=TAG_BYTES,
            salt_len=SALT_BYTES,
            type=argon2.Type.ID,
        )
        self.decoy: Final = _make_decoy(parameters, entropy)
        self._places = threading.BoundedSemaphore(workers + waiting)
        self._pool = ThreadPoolExecutor(workers, "passwords", initializer=_be_polite)

    def require_room(self) -> None:
        """Before anything else is done for a password: whoever would be refused here costs nothing more."""
        if not self._places.acquire(blocking=False):
            raise HashingBusy
        self._places.release()

    async def hash(self, password: bytes) -> str:
        salt = self._entropy(SALT_BYTES)
        return await self._work(lambda: self._hasher.hash(password, salt=salt))

    async def verify(self, hashed: str, password: bytes) -> bool:
        return await self._work(lambda: self._verify(hashed, password))

    def is_outdated(self, hashed: str) -> bool:
        return self._hasher.check_needs_rehash(hashed)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _verify(self, hashed: str, password: bytes) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _work(self, work: Callable[[], Made]) -> Made:
        if not self._places.acquire(blocking=False):
            raise HashingBusy
        working: Future[Made] = self._pool.submit(work)
        # Also of what is given up before it began: then nobody ever works it out.
        working.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(working)


def _make_decoy(parameters: Parameters, entropy: Callable[[int], bytes]) -> str:
    """Of no password: its tag was drawn. To verify one against it costs what it costs against any other."""
    salt, tag = (
        base64.b64encode(entropy(size)).rstrip(b"=").decode("ascii") for size in (SALT_BYTES, TAG_BYTES)
    )
    costs = f"m={parameters.memory_kib},t={parameters.passes},p={parameters.lanes}"
    return f"$argon2id$v=19${costs}${salt}${tag}"


def _be_polite() -> None:
    # Elsewhere a thread has no priority of its own, and its number may be another process's.
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
