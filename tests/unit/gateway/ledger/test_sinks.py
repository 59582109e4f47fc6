"""Sinks over a wire: what is told again is recognised, what is not theirs refused, and an outage has a name."""

import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiokafka
import pytest

from gateway.ledger.sinks import SinkUnavailable, build, kafka, redis_stream
from gateway.settings import RedisTlsSettings
from storage import redis
from tests.support import optional
from tests.support.kafka import KafkaServer
from tests.support.ledger import entries, written
from tests.support.servers import RedisServer


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[redis.Client]:
    opened = redis.connect(redis.RedisSettings(redis_url, timeout_ms=5_000))
    yield opened
    await opened.aclose()


Stream = Callable[..., redis_stream.RedisStreamSink]


@pytest.fixture
def stream(client: redis.Client) -> Stream:
    def make(max_length: int = 10_000) -> redis_stream.RedisStreamSink:
        return redis_stream.RedisStreamSink("stream", client, "portreeve:audit", max_length)

    return make


async def messages(client: redis.Client) -> list[tuple[bytes, dict[bytes, bytes]]]:
    found: Any = await client.xrange("portreeve:audit")
    return list(found)


async def in_stream(client: redis.Client) -> list[int]:
    return [int(message_id.partition(b"-")[0]) for message_id, _ in await messages(client)]


async def test_a_stream_gets_each_entry_once_under_its_number(client: redis.Client, stream: Stream) -> None:
    """However often and in whatever pieces it is told."""
    some = entries(6)
    await stream().deliver(some[:4])
    await stream().deliver(some[:4])
    await stream().deliver(some[2:])
    await stream().deliver(some[1:3])
    assert await in_stream(client) == [1, 2, 3, 4, 5, 6]
    _, fields = (await messages(client))[5]
    assert fields[b"entry"] + b"\n" == written(some[5:])
    assert (fields[b"seq"], fields[b"hash"], fields[b"subject"]) == (
        b"6",
        some[5].hash.encode(),
        b"prk_paper_6",
    )


async def test_a_stream_of_another_ledger_is_refused(client: redis.Client, stream: Stream) -> None:
    """A store that was restored gives numbers again; their entries are not taken for those that are there."""
    some, other = entries(6), entries(6, reason="another")
    await stream().deliver(some[:4])
    for wrong in (other[:4], other[4:], other[:2], other):
        with pytest.raises(SinkUnavailable, match="another ledger"):
            await stream().deliver(wrong)
    await client.xadd("portreeve:audit", {"whose": "somebody's"})
    with pytest.raises(SinkUnavailable, match="somebody else"):
        await stream().deliver(some[4:])


async def test_a_stream_is_cut_at_its_length(client: redis.Client, stream: Stream) -> None:
    """Redis cuts whole nodes of a hundred messages, so a few more than asked for stay."""
    await stream(max_length=100).deliver(entries(1_000))
    kept = await in_stream(client)
    assert kept[-1] == 1_000
    assert 100 <= len(kept) <= 300


async def test_a_redis_that_is_down_is_told(new_redis_server: Callable[..., RedisServer]) -> None:
    """And when it is back the same sink goes on."""
    server = new_redis_server()
    client = redis.connect(redis.RedisSettings(server.url, timeout_ms=2_000))
    sink = redis_stream.RedisStreamSink("stream", client, "portreeve:audit", 100)
    server.stop()
    with pytest.raises(SinkUnavailable):
        await sink.deliver(entries(2))
    server.start()
    await sink.deliver(entries(2))
    assert await in_stream(client) == [1, 2]
    await sink.aclose()


@pytest.fixture(scope="module")
def kafka_server() -> Iterator[KafkaServer]:
    server = KafkaServer(optional.require("kafka"))
    try:
        server.start()
        yield server
    finally:
        server.close()


async def in_topic(server: KafkaServer, topic: str, count: int) -> list[aiokafka.ConsumerRecord]:
    consumer = aiokafka.AIOKafkaConsumer(
        topic, bootstrap_servers=server.address, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        return [await consumer.getone() for _ in range(count)]
    finally:
        await consumer.stop()


async def test_a_topic_gets_every_entry_under_its_subject(kafka_server: KafkaServer) -> None:
    """In order for each subject, with number and hash in the headers, dated as the entry is."""
    some = entries(3) + entries(3, entries(3)[-1].place)
    sink = kafka.KafkaSink("topic", [kafka_server.address], "audit-order")
    await sink.deliver(some[:4])
    await sink.deliver(some[4:])
    await sink.aclose()
    found = await in_topic(kafka_server, "audit-order", 6)
    for subject in {entry.event.subject for entry in some}:
        expected = [written([entry]).rstrip(b"\n") for entry in some if entry.event.subject == subject]
        assert [record.value for record in found if record.key == subject.encode()] == expected
    assert {dict(record.headers)["hash"] for record in found} == {entry.hash.encode() for entry in some}
    assert {record.timestamp for record in found} == {entry.event.at for entry in some}


async def test_a_kafka_that_went_away_is_told_and_found_again(kafka_server: KafkaServer) -> None:
    """What was not acknowledged is told again, and arrives."""
    some = entries(2)
    sink = kafka.KafkaSink("topic", [kafka_server.address], "audit-outage", patience_s=3.0)
    await sink.deliver(some[:1])
    kafka_server.kill()
    with pytest.raises(SinkUnavailable):
        await sink.deliver(some[1:])
    kafka_server.start()
    for _ in range(20):
        try:
            await sink.deliver(some[1:])
            break
        except SinkUnavailable:
            continue
    await sink.aclose()
    numbers = [int(dict(one.headers)["seq"]) for one in await in_topic(kafka_server, "audit-outage", 2)]
    assert set(numbers) == {1, 2}


async def test_a_kafka_that_is_not_there_is_told() -> None:
    """Without any server: the failure has its name, and nothing is left running."""
    sink = kafka.KafkaSink("topic", ["127.0.0.1:1"], "audit", patience_s=3.0)
    with pytest.raises(SinkUnavailable, match="Kafka: "):
        await sink.deliver(entries(1))
    await sink.aclose()


def test_kafka_is_imported_for_a_kafka_sink_alone() -> None:
    """Whoever does without never loads it, nor needs it installed."""
    code = (
        "import sys; sys.modules['aiokafka'] = None\n"
        "import gateway.composition\n"
        "from gateway.ledger.sinks import kafka\n"
        "try: kafka.KafkaSink('k', ['127.0.0.1:1'], 't')\n"
        "except kafka.KafkaMissing as failure: print(failure)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "portreeve[kafka]" in done.stdout


def test_certificates_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    """Before anything is sent, and without a path into the machine's insides."""
    with pytest.raises(SinkUnavailable, match="certificates"):
        build.make_context(RedisTlsSettings(ca_file=str(tmp_path / "none.pem")))
    assert build.make_context(RedisTlsSettings()).check_hostname
