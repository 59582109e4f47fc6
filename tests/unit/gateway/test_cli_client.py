"""The signing client: what it signs is what the contract says, and what it sends is what it signed."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import client
from gateway.demo import trading, upstream, wire
from keys.secret import Secret
from tests.support.processes import free_port

VECTORS = json.loads(Path(__file__).parents[2].joinpath("vectors/signing.json").read_text("utf-8"))
HMAC_KEY = client.SigningKey("prk_paper_x", Secret(VECTORS["hmac_secret"]))


def secret_of(vector: dict[str, Any]) -> Secret:
    name = "hmac_secret" if vector["algorithm"] == "hmac-sha256" else "ed25519_seed_hex"
    return Secret(VECTORS[name])


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["name"])
def test_signatures_are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    """Both algorithms sign every published example as published."""
    headers = client.sign(
        client.SigningKey(vector["key_id"], secret_of(vector)),
        vector["method"],
        vector["target"],
        bytes.fromhex(vector["body_hex"]),
        timestamp=vector["timestamp"],
        nonce=vector["nonce"],
    )
    assert headers == [
        ("Portreeve-Key", vector["key_id"]),
        ("Portreeve-Timestamp", vector["timestamp"]),
        ("Portreeve-Nonce", vector["nonce"]),
        ("Portreeve-Signature", vector["signature"]),
    ]


@pytest.mark.parametrize("secret", ["", "hunter2", "prk_paper_x", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_other_secrets_are_refused_without_being_repeated(secret: str) -> None:
    """A secret in neither form signs nothing, and no message shows it."""
    key = client.SigningKey("prk_paper_x", Secret(secret))
    with pytest.raises(client.UnusableSecret) as refused:
        client.sign(key, "GET", "/", b"", timestamp="1", nonce="n")
    assert not secret or secret not in str(refused.value)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", ""),
        ("GET", "orders"),
        ("GET", "http://gateway/orders"),
        ("GET", "/a b"),
        ("GET", "/a\r\nX: y"),
        ("GET", "/é"),
        ("GET", "/a\n"),
        ("get", "/"),
        ("G T", "/"),
        ("", "/"),
    ],
)
def test_what_can_not_be_sent_as_it_stands_is_refused(method: str, target: str) -> None:
    """Nothing is quietly encoded, cut or upper-cased before it is signed."""
    with pytest.raises(client.UnusableRequest):
        client.sign(HMAC_KEY, method, target, b"", timestamp="1", nonce="n")


@pytest.mark.parametrize("key_id", ["", "a b", "a\nb", "é"])
def test_key_ids_that_no_header_can_carry_are_refused(key_id: str) -> None:
    """A key id is printable ASCII on one line."""
    with pytest.raises(client.UnusableRequest):
        client.sign(client.SigningKey(key_id, HMAC_KEY.secret), "GET", "/", b"", timestamp="1", nonce="n")


def test_a_signing_key_does_not_show_its_secret() -> None:
    """Its repr is safe to log."""
    assert VECTORS["hmac_secret"] not in repr(HMAC_KEY)


async def identify(_: str, __: wire.Request) -> str:
    raise trading.NotIdentified


@pytest.fixture
async def base_url() -> AsyncIterator[str]:
    app = trading.Trading("paper", identify, lambda: 1)
    async with upstream.listening(app.answer, socket.create_server(("127.0.0.1", 0))) as port:
        yield f"http://127.0.0.1:{port}"


async def send(base_url: str, request: client.SignedRequest) -> client.Answer:
    return await asyncio.to_thread(client.send, base_url, request)


async def test_the_target_and_headers_go_out_verbatim(base_url: str) -> None:
    """Escapes, empty parameters, doubled slashes and dots survive; only Host and the length are added."""
    target = "/echo//a/../%2e;x?b=2&a=%zz&&?"
    request = client.SignedRequest("PATCH", target, (("X-A", "1"), ("X-A", "2")), b"\x00\xff")
    seen = json.loads((await send(base_url, request)).body)
    assert seen["target"] == target
    assert seen["method"] == "PATCH"
    assert seen["body_hex"] == "00ff"
    assert seen["headers"] == [
        ["Host", base_url.removeprefix("http://")],
        ["X-A", "1"],
        ["X-A", "2"],
        ["Content-Length", "2"],
    ]


async def test_a_host_of_ones_own_replaces_the_usual_one(base_url: str) -> None:
    """Routes may be told apart by host, and two Host headers would be refused."""
    request = client.SignedRequest("GET", "/echo", (("host", "paper.example"),), b"")
    seen = json.loads((await send(base_url, request)).body)
    assert seen["headers"] == [["host", "paper.example"]]


async def test_an_empty_post_says_that_it_is_empty(base_url: str) -> None:
    """A method that usually has a body carries its length even when that is none."""
    seen = json.loads((await send(base_url, client.SignedRequest("POST", "/echo", (), b""))).body)
    assert ["Content-Length", "0"] in seen["headers"]


async def test_header_injection_is_refused(base_url: str) -> None:
    """A line end in a header's value never reaches the wire."""
    with pytest.raises(client.UnusableRequest):
        await send(base_url, client.SignedRequest("GET", "/echo", (("X", "a\r\nY: b"),), b""))


async def test_nobody_listening_has_a_name() -> None:
    """A refused connection is one failure that says where it was going."""
    port = free_port()
    with pytest.raises(client.Unreachable, match=str(port)):
        await send(f"http://127.0.0.1:{port}", client.SignedRequest("GET", "/", (), b""))


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "gateway:8080",
        "ftp://gateway",
        "http://",
        "http://gateway/api",
        "http://gateway?x",
        "http://a:b/",
        "http://a:b@c",
    ],
)
def test_a_base_url_is_an_origin(base_url: str) -> None:
    """A path in it would be sent but not signed."""
    with pytest.raises(client.UnusableRequest):
        client.send(base_url, client.SignedRequest("GET", "/", (), b""))
