"""The upstream example of docs/integrate.md, run as it stands: in front of it the gateway's own assertions."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auth import assertion
from keys import signing_keys

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = re.compile(r"```python\n(import asyncio.*?)```", re.DOTALL)
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
NOW_MS = 1_763_596_800_000


class Signer:
    private_key = PRIVATE
    kid = signing_keys.public_jwk(PRIVATE)["kid"]


class Caller:
    partner, credential, environment, roles = "acme", "prk_paper_x", "paper", ("trader",)


@pytest.fixture
def service(tmp_path: Path) -> Any:  # noqa: ANN401  an ASGI application
    """The example's application; its key set lies in a file instead of on a running gateway."""
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps({"keys": [signing_keys.public_jwk(PRIVATE)]}))
    found = EXAMPLE.search((ROOT / "docs" / "integrate.md").read_text())
    assert found is not None
    source = re.sub(r'JWKS = ".*"', f'JWKS = "file://{keys}"', found[1])
    names: dict[str, Any] = {}
    exec(compile(source, "docs/integrate.md", "exec"), names)  # noqa: S102  our own documentation
    return names["service"]


async def ask(service: Any, headers: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:  # noqa: ANN401  an ASGI application
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": headers,
    }
    await service(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


async def test_the_example_knows_who_is_calling(service: Any) -> None:  # noqa: ANN401  an ASGI application
    """With an assertion that the gateway's own code signed."""
    service._now_ms = lambda: NOW_MS
    made = assertion.Assertions(Signer, "https://portreeve.example", entropy=lambda size: b"j" * size)
    statement = made.issue(assertion.state(Caller(), "paper-trading", "orders:read"), NOW_MS)
    assert await ask(service, [(b"portreeve-identity", statement.encode())]) == (200, b"acme")


async def test_the_example_lets_nobody_else_in(service: Any) -> None:  # noqa: ANN401  an ASGI application
    """No header, no application."""
    assert (await ask(service, []))[0] == 401
