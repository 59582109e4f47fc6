"""[[audit.sinks]]: the keys of each kind and no others, and paths that start from the file."""

from pathlib import Path
from typing import Any

import pytest

from gateway import settings
from gateway.ledger.sinks import build
from tests.support import settings_files

FILE = {"name": "copy", "kind": "file", "path": "audit.jsonl"}
STREAM = {"name": "stream", "kind": "redis", "stream": "portreeve:audit", "max_length": 1000}
TOPIC = {"name": "siem", "kind": "kafka", "brokers": ["kafka.internal:9093"], "topic": "audit"}
REDIS = {"url": "redis://127.0.0.1:1/0"}


def load(tmp_path: Path, *sinks: dict[str, Any], redis: bool = True) -> settings.Settings:
    document = settings_files.MINIMAL | {"audit": {"sinks": list(sinks)}}
    return settings.load(settings_files.write(tmp_path, document | ({"redis": REDIS} if redis else {})))


def test_each_kind_is_read_and_built(tmp_path: Path) -> None:
    """With its path made absolute; nothing is connected to."""
    tls = {"ca_file": "ca.pem", "client_cert_file": "kafka.pem", "client_key": "file:kafka.key"}
    loaded = load(tmp_path, FILE, TOPIC | {"tls": tls, "from_start": False})
    assert loaded.audit.sinks[0].path == str(tmp_path / "audit.jsonl")
    assert loaded.audit.sinks[1].tls == settings.RedisTlsSettings(
        ca_file=str(tmp_path / "ca.pem"),
        client_cert_file=str(tmp_path / "kafka.pem"),
        client_key=f"file:{tmp_path / 'kafka.key'}",
    )
    built = build.build(loaded, lambda: None)
    assert [(sink.name, from_start) for sink, from_start in built] == [("copy", True), ("siem", False)]


@pytest.mark.parametrize(
    ("sink", "why"),
    [
        (FILE | {"stream": "x"}, "audit.sinks[0].stream: does not belong to a file sink"),
        ({"name": "copy", "kind": "file"}, "path is missing"),
        ({"name": "copy", "kind": "redis", "stream": "x"}, "max_length is missing"),
        (FILE | {"name": "Copy!"}, "audit.sinks[0].name"),
        (FILE | {"kind": "syslog"}, "audit.sinks"),
        (FILE | {"colour": "red"}, "colour"),
        (STREAM | {"stream": "a b"}, "audit.sinks[0].stream"),
        (STREAM | {"max_length": 0}, "audit.sinks"),
        (TOPIC | {"topic": ".."}, "audit.sinks[0].topic"),
        (TOPIC | {"brokers": ["kafka"]}, "audit.sinks[0].brokers[0]"),
        (TOPIC | {"brokers": ["kafka:99999"]}, "audit.sinks[0].brokers[0]"),
        (TOPIC | {"brokers": []}, "brokers is missing"),
        (TOPIC | {"tls": {"client_cert_file": "a"}}, "go together"),
        (TOPIC | {"tls": {"client_cert_file": "a", "client_key": "swordfish"}}, "client_key"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, sink: dict[str, Any], why: str) -> None:
    """With its place, and without repeating what may be a secret."""
    with pytest.raises(settings.SettingsError) as raised:
        load(tmp_path, sink)
    assert why in str(raised.value)
    assert "swordfish" not in str(raised.value)


def test_sinks_agree_with_the_rest(tmp_path: Path) -> None:
    """Two of one name would share one place; a stream needs a Redis."""
    with pytest.raises(settings.SettingsError, match="another sink's name"):
        load(tmp_path, FILE, FILE)
    with pytest.raises(settings.SettingsError, match=r"needs \[redis\]"):
        load(tmp_path, STREAM, redis=False)
