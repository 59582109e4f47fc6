"""A Kafka topic, an entry a record: the key is the subject, so what befell one thing stays in order in one partition.

Invariant: a batch is delivered when every replica in sync has all of it. The producer is idempotent, so what it sends
again by itself arrives once; what a new producer is told again after a failure carries the same `seq` and `hash` in
its headers. aiokafka is imported when a sink of this kind is built, and by nothing else.
"""

import asyncio
import importlib
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final

from gateway.ledger import lines
from gateway.ledger.sinks import SinkUnavailable
from storage import audit

_PATIENCE_S: Final = 10.0


class KafkaMissing(Exception):
    """The optional part that speaks to Kafka is not installed."""


class KafkaSink:
    """`make_tls` gives what the connection is verified and encrypted by; without it, it is neither."""

    def __init__(
        self,
        name: str,
        brokers: Sequence[str],
        topic: str,
        make_tls: Callable[[], ssl.SSLContext] | None = None,
        *,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self.name = name
        self._brokers = list(brokers)
        self._topic = topic
        self._make_tls = make_tls
        self._patience_s = patience_s
        self._kafka = _import()
        self._producer: Any = None

    async def deliver(self, entries: Sequence[audit.AuditEntry]) -> None:
        try:
            # Not within the timeout: it is bounded by its own, and cancelled it would leave connections open.
            producer = await self._started()
            async with asyncio.timeout(self._patience_s):
                sent = [await self._send(producer, entry) for entry in entries]
                await asyncio.gather(*sent)
        except (self._kafka.errors.KafkaError, OSError, TimeoutError) as failure:
            # A producer that failed may be left without its place in line: the next batch gets a new one.
            await self.aclose()
            raise SinkUnavailable(f"Kafka: {type(failure).__name__}") from failure

    async def aclose(self) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            async with asyncio.timeout(self._patience_s):
                await producer.stop()
        except (self._kafka.errors.KafkaError, OSError, TimeoutError):
            # It waits, for ever, for what it cannot send any more; left alone, its sender would connect again.
            await producer._sender.close()  # noqa: SLF001  the library has no public way to give up
            await producer.client.close()

    async def _started(self) -> Any:  # noqa: ANN401  aiokafka has no types
        if self._producer is None:
            tls = None if self._make_tls is None else self._make_tls()
            # Remembered before it has started, so that one that cannot start is stopped, too.
            self._producer = producer = self._kafka.AIOKafkaProducer(
                bootstrap_servers=self._brokers,
                client_id=f"portreeve-audit-{self.name}",
                acks="all",
                enable_idempotence=True,
                request_timeout_ms=int(self._patience_s * 1000),
                security_protocol="PLAINTEXT" if tls is None else "SSL",
                ssl_context=tls,
            )
            await producer.start()
        return self._producer

    async def _send(self, producer: Any, entry: audit.AuditEntry) -> Any:  # noqa: ANN401  the same
        return await producer.send(
            self._topic,
            lines.entry(entry.members()).rstrip(b"\n"),
            key=entry.event.subject.encode(),
            timestamp_ms=entry.event.at,
            headers=[("seq", str(entry.seq).encode()), ("hash", entry.hash.encode())],
        )


def _import() -> Any:  # noqa: ANN401  a module without types
    try:
        return importlib.import_module("aiokafka")
    except ImportError as cause:
        raise KafkaMissing("a kafka sink needs the optional part: pip install 'portreeve[kafka]'") from cause
