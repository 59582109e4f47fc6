"""Where entries of the ledger are copied to as they come: a file, a Redis stream, Kafka.

Invariant: a sink that has returned from `deliver` has the entries for certain; one that raises may have any of them.
Whoever calls it tells it all of them again, in order, so each entry arrives at least once and can be told by its
number and hash.
"""

from collections.abc import Sequence
from typing import Protocol

from storage import audit


class SinkUnavailable(Exception):
    """The entries were not all taken; they are told again later. The message holds nothing of them."""


class Sink(Protocol):
    """`deliver` returns when every entry is as safe as the sink can make it, in bounded time, or raises
    `SinkUnavailable`. It is called by one task at a time, with entries in order and none left out between calls.
    """

    @property
    def name(self) -> str: ...

    async def deliver(self, entries: Sequence[audit.AuditEntry]) -> None: ...

    async def aclose(self) -> None: ...
