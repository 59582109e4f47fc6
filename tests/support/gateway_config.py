"""The configuration that the attack tests run a gateway with: both its files, as plain dicts.

Limits are generous unless a route is about a limit, so that one test never starves another.
"""

from __future__ import annotations

import copy
import json
from typing import Any

Table = dict[str, Any]

ISSUER = "https://gateway.test"
PLENTY = {"rate": 100_000, "per": "1s", "burst": 100_000}
ANY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def policies() -> Table:
    return {
        # Whoever attacks has one account; approvals have tests of their own.
        "two_persons": False,
        "permissions": {
            "orders:read": {"description": "See orders"},
            "orders:write": {"description": "Place and cancel orders", "trading": True},
            "admin:all": {"description": "Held by nobody: what reaches such a route has broken in"},
        },
        "roles": {
            "viewer": {"permissions": ["orders:read"]},
            "trader": {"permissions": ["orders:read", "orders:write"]},
        },
        "tiers": {
            "standard": {"key": PLENTY, "partner": PLENTY},
            "metered": {"key": PLENTY, "partner": {"rate": 1, "per": "1h", "burst": 2}},
        },
    }


def settings(*, paper: str, live: str, dead: str, storage: str, redis: str | None) -> Table:
    """One gateway over these upstream and store URLs; every test route leads to the paper upstream."""
    document: Table = {
        "service": {"issuer": ISSUER, "docs_base": f"{ISSUER}/docs"},
        "server": {"header_timeout_ms": 2000, "body_timeout_ms": 3000, "drain_ms": 0},
        "storage": {"url": storage},
        "kms": {"backend": "local", "master_key": "file:master.key"},
        "source_limit": dict(PLENTY),
        "limits": {
            "one-slot": {"rate": 1, "per": "1h", "burst": 1},
            "three-slots": {"rate": 1, "per": "1h", "burst": 3},
            "public-refusing": {**PLENTY, "outage": "refuse"},
            "public-local": {**PLENTY, "outage": "local"},
        },
        "upstreams": {
            "paper": {"url": paper, "environment": "paper"},
            "live": {"url": live, "environment": "live"},
            "dead": {"url": dead, "environment": "paper"},
            "narrow": {"url": paper, "environment": "paper", "max_connections": 1, "max_waiting": 0},
        },
        "routes": _routes(),
    }
    if redis is not None:
        document["redis"] = {"url": redis}
    return document


def route(name: str, path: str, permission: str | None = "orders:read", **rest: object) -> Table:
    made = {
        "name": name,
        "methods": ["GET"],
        "path": path,
        "environment": "paper",
        "upstream": "paper",
        **rest,
    }
    return {**made, "public": True} if permission is None else {**made, "permission": permission}


def _routes() -> list[Table]:
    stripped = {"strip_prefix": "/paper/v1"}
    return [
        route("orders-read", "/paper/v1/orders", **stripped),
        route("orders-create", "/paper/v1/orders", "orders:write", methods=["POST"], **stripped),
        route("orders-one", "/paper/v1/orders/{id}", **stripped),
        route("orders-cancel", "/paper/v1/orders/{id}", "orders:write", methods=["DELETE"], **stripped),
        route("echo", "/paper/v1/echo", methods=ANY_METHOD, max_body_bytes=1_048_576, **stripped),
        route("echo-below", "/paper/v1/echo/**", methods=ANY_METHOD, max_body_bytes=1_048_576, **stripped),
        route("small", "/paper/v1/small", methods=["POST"], max_body_bytes=1024),
        route("one-slot", "/paper/v1/one-slot", limits=["one-slot"]),
        route("three-slots", "/paper/v1/three-slots", limits=["three-slots"]),
        route("impatient", "/paper/v1/impatient", timeouts={"first_byte_ms": 300, "idle_ms": 300}),
        route("bound", "/paper/v1/bound", "orders:write", methods=["POST"], bind_request=True),
        route("dead", "/paper/v1/dead", upstream="dead"),
        route("narrow", "/paper/v1/narrow", upstream="narrow"),
        route("live-orders", "/live/v1/orders", environment="live", upstream="live", strip_prefix="/live/v1"),
        route("admin", "/admin/**", "admin:all", methods=ANY_METHOD),
        route("public", "/pub/**", None, methods=ANY_METHOD),
        route("public-refusing", "/open/refusing", None, limits=["public-refusing"]),
        route("public-local", "/open/local", None, limits=["public-local"]),
    ]


def merged(document: Table, changes: Table) -> Table:
    """A copy with changes laid over it, table by table; a None takes a key out."""
    result = copy.deepcopy(document)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def to_toml(document: Table) -> str:
    """As TOML: tables by their full name, everything below a second level inline."""
    lines: list[str] = []
    for name, content in document.items():
        if isinstance(content, list):
            lines += [line for item in content for line in (f"[[{name}]]", *_pairs(item))]
        elif isinstance(content, dict):
            lines += _table(name, content)
        else:
            lines += _pairs({name: content})
    return "\n".join(lines) + "\n"


def _table(name: str, content: Table) -> list[str]:
    if content and all(isinstance(value, dict) for value in content.values()):
        named = ((f"[{name}.{json.dumps(key)}]", value) for key, value in content.items())
        return [line for header, value in named for line in (header, *_pairs(value))]
    return [f"[{name}]", *_pairs(content)]


def _pairs(content: Table) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in content.items()]


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(_pairs(value)) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return json.dumps(value)
