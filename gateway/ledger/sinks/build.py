"""From settings to sinks. Nothing connects here; that is for the first delivery."""

import ssl
from collections.abc import Callable
from pathlib import Path

from gateway import references
from gateway.ledger.sinks import Sink, SinkUnavailable, file, kafka, redis_stream
from gateway.settings import RedisTlsSettings, Settings, SinkSettings
from storage import redis


def build(settings: Settings, connect_redis: Callable[[], redis.Client | None]) -> list[tuple[Sink, bool]]:
    """Each with whether it begins at the start of the ledger."""
    return [(_build_one(sink, connect_redis), sink.from_start) for sink in settings.audit.sinks]


def _build_one(sink: SinkSettings, connect_redis: Callable[[], redis.Client | None]) -> Sink:
    match sink:
        case SinkSettings(kind="file", path=str() as path):
            return file.FileSink(sink.name, Path(path))
        case SinkSettings(kind="redis", stream=str() as stream, max_length=int() as length):
            client = connect_redis()
            if client is not None:
                return redis_stream.RedisStreamSink(sink.name, client, stream, length)
        case SinkSettings(kind="kafka", topic=str() as topic):
            tls = sink.tls
            make_tls = None if tls is None else lambda: make_context(tls)
            return kafka.KafkaSink(sink.name, sink.brokers, topic, make_tls)
    raise AssertionError("the settings were not checked")


def make_context(tls: RedisTlsSettings) -> ssl.SSLContext:
    """The broker's certificate and name are verified, by the system's authorities if no others are named."""
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.client_cert_file is not None and tls.client_key is not None:
            context.load_cert_chain(tls.client_cert_file, references.get_path(tls.client_key))
    except OSError as failure:  # SSLError is one
        raise SinkUnavailable(
            f"the certificates for Kafka cannot be used: {type(failure).__name__}"
        ) from failure
    return context
