"""From parsed TOML to values: strict, and key by key, so that one wrong type does not hide the next.

Invariant: nothing is coerced, and nothing unknown is passed over. Every fault names its place.
"""

import re
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from gateway.settings.faults import Fault, quote_key
from gateway.settings.values import (
    AuditSettings,
    ControlSettings,
    IdentitySettings,
    KeysSettings,
    KmsSettings,
    OAuthSettings,
    PeopleSettings,
    RedisSettings,
    RotationSettings,
    RouteSettings,
    ScannerSettings,
    SecretsManagerSettings,
    ServerSettings,
    ServiceSettings,
    SigningSettings,
    SourceLimitSettings,
    StorageSettings,
    UpstreamSettings,
    WebhooksSettings,
)
from policies.limits import LimitSpec

Decoded = TypeVar("Decoded", bound=Struct)

_TABLES: dict[str, type[Struct]] = {
    "service": ServiceSettings,
    "server": ServerSettings,
    "control": ControlSettings,
    "storage": StorageSettings,
    "redis": RedisSettings,
    "kms": KmsSettings,
    "signing": SigningSettings,
    "keys": KeysSettings,
    "rotation": RotationSettings,
    "identity": IdentitySettings,
    "oauth": OAuthSettings,
    "people": PeopleSettings,
    "audit": AuditSettings,
    "source_limit": SourceLimitSettings,
    "webhooks": WebhooksSettings,
    "secrets_manager": SecretsManagerSettings,
}
_REQUIRED = ("service", "storage", "kms")
_NAMED_TABLES: dict[str, type[Struct]] = {
    "limits": LimitSpec,
    "upstreams": UpstreamSettings,
    "scanners": ScannerSettings,
}
_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`$")


def decode_document(document: dict[str, Any], faults: list[Fault]) -> dict[str, Any]:
    """The sections that are there, by name. If faults were added, they are not whole and not to be used."""
    sections: dict[str, Any] = {}
    for name, raw in document.items():
        if name in _TABLES:
            sections[name] = _decode_table(raw, _TABLES[name], name, faults)
        elif name in _NAMED_TABLES:
            sections[name] = _decode_named(raw, _NAMED_TABLES[name], name, faults)
        elif name == "routes":
            sections[name] = _decode_routes(raw, faults)
        else:
            faults.append(Fault("", f"unknown section {quote_key(name)}"))
    faults.extend(Fault("", f"section [{name}] is missing") for name in _REQUIRED if name not in document)
    return sections


def route_place(index: int, name: object) -> str:
    return f'routes[{index}] "{name}"' if isinstance(name, str) else f"routes[{index}]"


def _decode_named(
    raw: object, kind: type[Decoded], place: str, faults: list[Fault]
) -> dict[str, Decoded | None]:
    if not isinstance(raw, dict):
        faults.append(Fault(place, "has to hold tables, each with a name"))
        return {}
    return {
        name: _decode_table(table, kind, f"{place}.{quote_key(name)}", faults) for name, table in raw.items()
    }


def _decode_routes(raw: object, faults: list[Fault]) -> tuple[RouteSettings | None, ...]:
    if not isinstance(raw, list):
        faults.append(Fault("routes", "has to be a list of tables: [[routes]]"))
        return ()
    return tuple(
        _decode_table(table, RouteSettings, route_place(index, _name_in(table)), faults)
        for index, table in enumerate(raw)
    )


def _name_in(table: object) -> object:
    return table.get("name") if isinstance(table, dict) else None


def _decode_table(raw: object, kind: type[Decoded], place: str, faults: list[Fault]) -> Decoded | None:
    if not isinstance(raw, dict):
        faults.append(Fault(place, "has to be a table"))
        return None
    before = len(faults)
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    faults.extend(Fault(place, f"unknown key {quote_key(key)}") for key in raw if key not in fields)
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in raw:
            values[name] = _decode_value(raw[name], field.type, f"{place}.{name}", faults)
        elif field.required:
            faults.append(Fault(place, f"{name} is missing"))
    return kind(**values) if len(faults) == before else None


def _decode_value(raw: object, kind: object, place: str, faults: list[Fault]) -> object:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        faults.append(_locate(str(error), place))
        return None


def _locate(message: str, place: str) -> Fault:
    # The decoder states the place at the end of its message; it is moved to the front, and decides nothing.
    found = _PATH.search(message)
    problem = message if found is None else message[: found.start()]
    return Fault(place + (found["path"] if found else ""), problem[:1].lower() + problem[1:])
