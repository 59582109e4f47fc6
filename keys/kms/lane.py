"""A few threads of a backend's own, for a library that blocks.

Invariant: the loop is never blocked, and nobody waits longer than the bound. What hangs, hangs here: the
threads that others share are left alone, and whoever comes after waits in line, for as long as the bound and
no longer. Refuses, as `KmsUnavailable`, what did not end in time; it may still end later, unheard.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from keys import kms

Answer = TypeVar("Answer")


class Lane:
    def __init__(self, name: str, *, threads: int, timeout_ms: int) -> None:
        self._name = name
        self._timeout_s = timeout_ms / 1000
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=f"kms-{name}")

    async def run(self, call: Callable[[], Answer]) -> Answer:
        loop = asyncio.get_running_loop()
        try:
            # What is still in line when the time is over is taken out of it.
            async with asyncio.timeout(self._timeout_s):
                return await loop.run_in_executor(self._threads, call)
        except TimeoutError:
            raise kms.KmsUnavailable(f"{self._name} did not answer in time") from None

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
