"""Secrets that the control API has handled, or was sent in wrong places, come back in nothing that a node says."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.cli.audit_commands import view
from keys import format as written
from storage import audit, engine
from tests.support import control_roles
from tests.support.control_node import ControlNode, control_node
from tests.support.signing import Signer, plain_request

KEYS = "/control/v1/keys"
CLIENTS = "/control/v1/clients"
# Nobody's, and in the form that all have.
STRAY = written.mint_secret("live", os.urandom(32)).reveal()
SEED = os.urandom(32).hex()


class Overheard:
    """All that the node has said but what hands out a secret: answers, access lines, its log."""

    def __init__(self, node: ControlNode, officer: Signer, lines: io.BytesIO) -> None:
        self.node, self.officer, self.lines = node, officer, lines
        self.said: list[str] = []

    async def ask(self, method: str, target: str, body: Any = None, **headers: str) -> Any:  # noqa: ANN401  an answer's JSON
        answer = await self.node.ask(self.officer, method, target, body, **headers)
        self.said.append(repr(answer.headers) + answer.body.decode())
        assert answer.status < 500, answer
        return answer.json() if answer.body.startswith(b"{") else {}

    async def everything(self) -> str:
        await asyncio.to_thread(self.node.gateway.log.stop)
        access = self.lines.getvalue().decode()
        assert f'"path":"{KEYS}"' in access or f'"path":"{CLIENTS}"' in access
        async with engine.reading(self.node.store.engine) as conn:
            entries = await audit.search(conn, audit.Search(), limit=1_000)
        ledger = [msgspec.json.encode(view(entry)).decode() for entry in entries]
        return "\n".join([*self.said, access, *ledger])


@pytest.fixture
async def overheard(tmp_path: Path) -> AsyncIterator[Overheard]:
    async with control_node(tmp_path, control_roles.policies()) as node:
        lines = io.BytesIO()
        node.gateway.log._sink = lines
        yield Overheard(node, await node.key(control_roles.OFFICER), lines)


async def test_what_was_handed_out_is_never_said_again(
    overheard: Overheard, caplog: pytest.LogCaptureFixture
) -> None:
    """Made, used, listed, reported as leaked, and asked for again under the same idempotency key."""
    asked = {"partner": "acme", "environment": "live", "algorithm": "hmac-sha256", "roles": ["viewer"]}
    made = await overheard.node.ask(
        overheard.officer, "POST", KEYS, asked, Idempotency_Key="once-0123456789abcdef"
    )
    assert made.status == 201, made.body
    secret, key_id = made.json()["secret"], made.json()["key"]["id"]
    await overheard.ask("POST", KEYS, asked, Idempotency_Key="once-0123456789abcdef")
    await overheard.ask("GET", f"{KEYS}/{key_id}")
    await overheard.ask("GET", KEYS)
    finding = {"secret": secret, "place": f"https://code.example/{secret}"}
    await overheard.ask("POST", "/control/v1/leaks", {"findings": [finding]})
    await overheard.ask("GET", "/control/v1/audit")
    told = caplog.text + await overheard.everything()
    assert key_id in told
    assert [line for line in told.splitlines() if secret in line] == []
    stored = await asyncio.to_thread(stored_bytes, overheard.node)
    assert key_id.encode() in stored
    assert secret.encode() not in stored


async def test_a_client_s_secret_is_never_said_again(
    overheard: Overheard, caplog: pytest.LogCaptureFixture
) -> None:
    """Of it the store has a sealed digest, and nothing else has anything."""
    asked = {
        "partner": "acme",
        "environment": "live",
        "name": "Acme settlement",
        "authentication": "client_secret_basic",
        "exceptions": ["client-secret"],
        "roles": ["viewer"],
    }
    made = await overheard.node.ask(
        overheard.officer, "POST", CLIENTS, asked, Idempotency_Key="once-0123456789abcdef"
    )
    assert made.status == 201, made.body
    secret, client_id = made.json()["secret"], made.json()["client"]["id"]
    again = await overheard.ask("POST", CLIENTS, asked, Idempotency_Key="once-0123456789abcdef")
    assert (again["secret"], again["secret_shown"], again["client"]["id"]) == (None, True, client_id)
    await overheard.ask("GET", f"{CLIENTS}/{client_id}")
    await overheard.ask("GET", CLIENTS)
    await overheard.ask("GET", f"{CLIENTS}/{secret}")
    finding = {"secret": secret, "place": f"https://code.example/{secret}"}
    reported = await overheard.ask("POST", "/control/v1/leaks", {"findings": [finding]})
    assert "frozen" in json.dumps(reported)
    await overheard.ask("GET", "/control/v1/audit")
    told = caplog.text + await overheard.everything()
    assert client_id in told
    assert [line for line in told.splitlines() if secret in line] == []
    stored = await asyncio.to_thread(stored_bytes, overheard.node)
    assert secret.encode() not in stored
    assert hashlib.sha256(secret.encode()).digest() not in stored


@pytest.mark.parametrize("typed", [STRAY, SEED], ids=["secret", "seed"])
async def test_a_secret_in_a_wrong_place_is_not_repeated(
    overheard: Overheard, typed: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In place of an id, a header, a parameter, a field's name and its value, at every endpoint that there is."""
    document = (await overheard.node.ask(None, "GET", "/control/openapi.json")).json()
    asked = 0
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            target = path
            for parameter in said["parameters"]:
                target = target.replace(f"{{{parameter['name']}}}", typed)
            for query, body in (
                ("", None),
                (f"?limit={typed}&{typed}=1&after={typed}", None),
                ("", json.dumps({typed: typed}).encode()),
                ("", json.dumps(dict.fromkeys(_fields(said, document), typed)).encode()),
            ):
                if body is not None and "requestBody" not in said:
                    continue
                await overheard.ask(
                    method.upper(), target + query, body, If_Match=f'"{typed}"', Idempotency_Key=typed
                )
                asked += 1
    wrong = plain_request("GET", KEYS.encode(), [("Portreeve-Key", typed), ("Authorization", typed)])
    overheard.said.append(str((await overheard.node.client.send(wrong)).body))
    await overheard.ask("GET", f"/control/v1/{typed}")
    page = await overheard.node.ask(None, "GET", "/control/docs")
    assert asked > len(document["paths"])
    told = caplog.text + page.body.decode() + json.dumps(document) + await overheard.everything()
    if typed == SEED:
        # 64 digits are no credential to whoever reads a path: they may be a digest.
        told = "\n".join(line for line in told.splitlines() if not line.startswith('{"node":'))
    assert [line for line in told.splitlines() if typed[10:40] in line] == []


def stored_bytes(node: ControlNode) -> bytes:
    place = Path(node.store.engine.url.database or "")
    return b"".join(file.read_bytes() for file in place.parent.glob(f"{place.name}*"))


def _fields(said: dict[str, Any], document: dict[str, Any]) -> list[str]:
    schema = said.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    named = document["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], schema)
    return list(named.get("properties", {}))
