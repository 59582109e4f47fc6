"""Looking names up by the system's resolver, each in a thread of its own.

Invariant: a name server that a partner runs can hold up its own look-ups and nothing else: what waits for the database
or the KMS never stands behind one, nor does the end of the process. A look-up ends when the system's resolver gives
up, and its caller waits for that; so there are never more of them than callers.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class NameNotFound(Exception):
    pass


async def resolve(host: str, port: int) -> Sequence[str]:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def look_up() -> None:
        found = _look_up(host, port)
        # The loop may be closed by now: then nobody waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, found)

    def settle(found: list[str]) -> None:
        if not answer.done():
            answer.set_result(found)

    # A pool's threads would be waited for when the process ends.
    threading.Thread(target=look_up, name="webhook-name", daemon=True).start()
    found = await answer
    if not found:
        raise NameNotFound
    return found


def _look_up(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except OSError:
        return []
    return [str(place[0]) for *_, place in found]
