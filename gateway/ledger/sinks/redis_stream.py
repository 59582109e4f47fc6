"""A Redis stream, an entry a message, whose id is `<number of the entry>-0`.

Invariant: the stream takes each number once and in order, so what is delivered again is recognised and left out. The
last message tells how far the stream has come, and its hash that it is this ledger it has come along: a stream that
holds another one (of a store that was restored, say) is refused rather than skipped through. Messages past
`max_length` fall out at the far end.
"""

from collections.abc import Sequence
from typing import Any

from gateway.ledger import lines
from gateway.ledger.sinks import SinkUnavailable
from storage import audit, chain, redis


class RedisStreamSink:
    """The client is its own from here on: `aclose` closes it."""

    def __init__(self, name: str, client: redis.Client, stream: str, max_length: int) -> None:
        self.name = name
        self._client = client
        self._stream = stream
        self._max_length = max_length

    async def deliver(self, entries: Sequence[audit.AuditEntry]) -> None:
        try:
            with redis.translated():
                await redis.find_nodes(self._client)
                waiting = self._missing(entries, await self._find_last(entries[-1].seq))
                if waiting:
                    await self._add(waiting)
        except redis.RedisUnavailable as outage:
            raise SinkUnavailable(str(outage)) from outage

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _find_last(self, upto: int) -> chain.Place:
        """How far the stream has come, up to that entry: another node may have gone further meanwhile."""
        last = _read(self._stream, await self._client.xrevrange(self._stream, count=1))
        if last.seq <= upto:
            return last
        found = _read(self._stream, await self._client.xrevrange(self._stream, max=f"{upto}-0", count=1))
        if found == chain.START:
            raise SinkUnavailable(f"the stream {self._stream} is past entry {upto}, and no longer has it")
        return found

    def _missing(self, entries: Sequence[audit.AuditEntry], last: chain.Place) -> Sequence[audit.AuditEntry]:
        first = entries[0]
        if last.seq < first.seq - 1 or last == chain.START:
            # Begun with this entry, or what lies between was never meant for it.
            return entries
        along = {first.seq - 1: first.previous} | {entry.seq: entry.hash for entry in entries}
        if along.get(last.seq) != last.hash:
            raise SinkUnavailable(
                f"the stream {self._stream} holds another ledger at entry {last.seq}: name a new stream"
            )
        return [entry for entry in entries if entry.seq > last.seq]

    async def _add(self, entries: Sequence[audit.AuditEntry]) -> None:
        async with self._client.pipeline(transaction=False) as pipeline:
            for entry in entries:
                fields: dict[Any, Any] = {
                    "seq": entry.seq,
                    "hash": entry.hash,
                    "action": entry.event.action,
                    "subject": entry.event.subject,
                    "entry": lines.entry(entry.members()).rstrip(b"\n"),
                }
                pipeline.xadd(
                    self._stream, fields, id=f"{entry.seq}-0", maxlen=self._max_length, approximate=True
                )
            await pipeline.execute()


def _read(stream: str, found: object) -> chain.Place:
    match found:
        case [] | None:
            return chain.START
        case [(bytes() as message_id, {b"hash": bytes() as hash_})]:
            # Redis itself made sure that an id is two numbers.
            return chain.Place(int(message_id.partition(b"-")[0]), hash_.decode("ascii", "replace"))
        case _:
            raise SinkUnavailable(f"the stream {stream} holds messages of somebody else")
