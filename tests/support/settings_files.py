"""Configurations for tests: a minimal one that holds, edits that break it, and its way to disk as TOML."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway import settings
from gateway.settings import SettingsError

Document = dict[str, Any]
Edit = Callable[[Document], None]

POLICIES = """
[permissions."orders:read"]
description = "see"
[permissions."orders:write"]
description = "place"
trading = true
[roles.trader]
permissions = ["orders:read", "orders:write"]
[tiers.standard]
key = { rate = 10, per = "1s", burst = 50 }
partner = { rate = 10, per = "1s", burst = 40 }
"""

ROUTE: Document = {
    "name": "orders",
    "methods": ["GET"],
    "path": "/paper/orders",
    "environment": "paper",
    "upstream": "trading",
    "permission": "orders:read",
}

MINIMAL: Document = {
    "service": {"issuer": "https://gate.example", "docs_base": "https://gate.example/docs"},
    "storage": {"url": "sqlite:state.db"},
    "kms": {"master_key": "file:master.key"},
    "limits": {"writes": {"rate": 1, "per": "1s", "burst": 5}},
    "upstreams": {"trading": {"url": "http://127.0.0.1:9", "environment": "paper"}},
    "routes": [ROUTE],
}


def to_toml(value: object) -> str:
    """JSON is TOML for strings, numbers and lists; tables need another separator."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {to_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(to_toml(item) for item in value) + "]"
    return json.dumps(value)


def write(directory: Path, document: Document, policies: str = POLICIES) -> Path:
    (directory / "policies.toml").write_text(policies)
    file = directory / "portreeve.toml"
    file.write_text("\n".join(f"{json.dumps(key)} = {to_toml(value)}" for key, value in document.items()))
    return file


def refusal(directory: Path, edit: Edit) -> list[str]:
    document = copy.deepcopy(MINIMAL)
    edit(document)
    with pytest.raises(SettingsError) as caught:
        settings.load(write(directory, document))
    return str(caught.value).splitlines()


def put(*way: str | int, value: object) -> Edit:
    def edit(document: Document) -> None:
        at: Any = document
        for step in way[:-1]:
            at = at.setdefault(step, {}) if isinstance(at, dict) else at[step]
        at[way[-1]] = value

    return edit


def on_route(**changes: object) -> Edit:
    def edit(document: Document) -> None:
        route = document["routes"][0]
        route.update(changes)
        for key in [key for key, value in route.items() if value is None]:
            del route[key]

    return edit


def and_route(**changes: object) -> Edit:
    return lambda document: document["routes"].append({**ROUTE, "name": "second", **changes})
