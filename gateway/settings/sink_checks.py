"""The tables under [[audit.sinks]]: each has a name of its own, and the keys of its kind and no others."""

import re
from collections.abc import Iterator
from typing import Final

from gateway import references
from gateway.settings import addresses
from gateway.settings.faults import Fault
from gateway.settings.values import Settings, SinkSettings

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}", re.ASCII)
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)
_STREAM: Final = re.compile(r"[!-~]{1,512}")
_BROKER: Final = re.compile(r"(?P<host>.+):(?P<port>[1-9][0-9]{0,4})")
_LARGEST_PORT: Final = 65_535

_KEYS: Final = {"file": ("path",), "redis": ("stream", "max_length"), "kafka": ("brokers", "topic")}
_OPTIONAL: Final = {"file": (), "redis": (), "kafka": ("tls",)}
_ALL: Final = ("path", "stream", "max_length", "brokers", "topic", "tls")


def find_sink_faults(settings: Settings) -> Iterator[Fault]:
    names: set[str] = set()
    for index, sink in enumerate(settings.audit.sinks):
        place = f"audit.sinks[{index}]"
        if _NAME.fullmatch(sink.name) is None:
            yield Fault(f"{place}.name", "a name is lowercase letters, digits and '-', a letter first")
        if sink.name in names:
            # How far each has come is kept under its name.
            yield Fault(f"{place}.name", "is another sink's name, too")
        names.add(sink.name)
        yield from _check_keys(place, sink)
        yield from _check_values(place, sink)
        if sink.kind == "redis" and settings.redis is None:
            yield Fault(f"{place}.kind", "needs [redis], which says where it is")


def _check_keys(place: str, sink: SinkSettings) -> Iterator[Fault]:
    needed, optional = _KEYS[sink.kind], _OPTIONAL[sink.kind]
    for key in _ALL:
        given = getattr(sink, key) not in {None, ()}
        if key in needed and not given:
            yield Fault(place, f"{key} is missing: a {sink.kind} sink needs it")
        if given and key not in (*needed, *optional):
            yield Fault(f"{place}.{key}", f"does not belong to a {sink.kind} sink")


def _check_values(place: str, sink: SinkSettings) -> Iterator[Fault]:
    if sink.stream is not None and _STREAM.fullmatch(sink.stream) is None:
        yield Fault(f"{place}.stream", "is no name of visible ASCII characters")
    if sink.topic is not None and (_TOPIC.fullmatch(sink.topic) is None or sink.topic in {".", ".."}):
        yield Fault(f"{place}.topic", "is no name that Kafka allows")
    for number, broker in enumerate(sink.brokers):
        found = _BROKER.fullmatch(broker)
        if found is None or not addresses.is_host(found["host"]) or int(found["port"]) > _LARGEST_PORT:
            yield Fault(f"{place}.brokers[{number}]", 'is no "HOST:PORT"')
    if sink.tls is not None:
        if (sink.tls.client_cert_file is None) != (sink.tls.client_key is None):
            yield Fault(f"{place}.tls", "client_cert_file and client_key go together")
        if sink.tls.client_key is not None:
            yield from _check_key_file(f"{place}.tls.client_key", sink.tls.client_key)


def _check_key_file(place: str, text: str) -> Iterator[Fault]:
    try:
        references.get_path(text)
    except (references.MalformedReference, references.UnresolvedReference) as failure:
        yield Fault(place, str(failure))
