"""The demo upstream believes the gateway's assertions, and only where they are meant."""

import base64
import hashlib
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from auth import assertion, identity_keys
from gateway.demo import assertions, trading, upstream, wire
from tests.support import signing

NOW_MS = 1_763_596_800_123
ISSUER = "https://portreeve.example"
EXPECTED = assertions.Expectation(ISSUER, "paper-trading", "paper")
PLAIN = wire.Request("GET", "/orders", ())
ORDER = wire.Request("POST", "/orders?x=1", (), b"{}")


class Signer(msgspec.Struct, frozen=True, eq=False):
    kid: str
    private_key: ed25519.Ed25519PrivateKey


class Caller(msgspec.Struct, frozen=True):
    partner: str = "acme"
    credential: str = "prk_paper_k"
    environment: str = "paper"
    roles: tuple[str, ...] = ("trader",)


def new_signer(kid: str) -> Signer:
    return Signer(kid, ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(signing.new_ed25519()[0])))


def jwks_of(*signers: Signer) -> dict[str, Any]:
    def public(signer: Signer) -> dict[str, str]:
        raw = signer.private_key.public_key().public_bytes_raw()
        x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": signer.kid, "use": "sig", "alg": "EdDSA"}

    return {"keys": [public(signer) for signer in signers]}


def issue(
    signer: Signer, audience: str = "paper-trading", caller: Caller | None = None, at_ms: int = NOW_MS
) -> str:
    made = assertion.Assertions(lambda: signer, ISSUER, entropy=bytes)
    return made.issue(assertion.state(caller or Caller(), audience, "orders:read"), at_ms)


def bound(signer: Signer, body: bytes) -> str:
    binding = assertion.RequestBinding("r", "POST", b"/orders", b"x=1", hashlib.sha256(body).hexdigest())
    made = assertion.Assertions(lambda: signer, ISSUER, entropy=bytes)
    return made.issue(assertion.state(Caller(), "paper-trading", "orders:write"), NOW_MS, binding)


def verifier(fetch: Callable[[], Awaitable[object]]) -> assertions.AssertionVerifier:
    keys = identity_keys.IdentityKeys(fetch, refetch_ms=0)
    return assertions.AssertionVerifier(keys, EXPECTED, lambda: NOW_MS)


SIGNER = new_signer("one")


async def fetch_signer() -> object:
    return jwks_of(SIGNER)


async def test_a_valid_assertion_names_its_partner() -> None:
    """Signed by a published key, for this upstream and environment, now."""
    assert await verifier(fetch_signer).identify(issue(SIGNER), PLAIN) == "acme"


@pytest.mark.parametrize(
    "held",
    [
        issue(SIGNER, audience="live-trading"),
        issue(SIGNER, caller=Caller(environment="live")),
        issue(SIGNER, at_ms=NOW_MS - 60_000),
        issue(new_signer("one")),
        issue(new_signer("two")),
        "",
        "acme",
    ],
    ids=["audience", "environment", "expired", "forged", "unknown key", "empty", "no assertion"],
)
async def test_assertions_that_do_not_hold_here_are_refused(held: str) -> None:
    """And the refusal doesn't repeat them."""
    with pytest.raises(trading.NotIdentified) as refused:
        await verifier(fetch_signer).identify(held, PLAIN)
    assert not held or held not in str(refused.value)


async def test_an_assertion_for_one_request_serves_no_other() -> None:
    """Method, target and body are compared with what it was made for."""
    check = verifier(fetch_signer)
    assert await check.identify(bound(SIGNER, b"{}"), ORDER) == "acme"
    for other in (
        msgspec.structs.replace(ORDER, method="PUT"),
        msgspec.structs.replace(ORDER, target="/orders?x=2"),
        msgspec.structs.replace(ORDER, body=b"[]"),
    ):
        with pytest.raises(trading.NotIdentified, match="wrong_request"):
            await check.identify(bound(SIGNER, b"{}"), other)


async def test_a_new_signing_key_is_fetched_when_it_first_signs() -> None:
    """Rotation needs no restart of the upstream."""
    published = [SIGNER]

    async def fetch() -> object:
        return jwks_of(*published)

    check = verifier(fetch)
    await check.identify(issue(SIGNER), PLAIN)
    successor = new_signer("next")
    published.append(successor)
    assert await check.identify(issue(successor), PLAIN) == "acme"


async def serve_jwks(request: wire.Request) -> wire.Response:
    status = 200 if request.target == assertions.JWKS_PATH else 404
    return wire.Response(status, msgspec.json.encode(jwks_of(SIGNER)))


async def test_keys_come_from_the_gateways_well_known_place() -> None:
    """Over HTTP, from the path that the contract names."""
    async with upstream.listening(serve_jwks, socket.create_server(("127.0.0.1", 0))) as port:
        assert await assertions.fetch_jwks(f"http://127.0.0.1:{port}") == jwks_of(SIGNER)


async def refuse(_: wire.Request) -> wire.Response:
    return wire.Response(503)


async def test_without_keys_nobody_is_believed() -> None:
    """A gateway that has no keys to give leaves every assertion unproved."""
    async with upstream.listening(refuse, socket.create_server(("127.0.0.1", 0))) as port:
        check = verifier(lambda: assertions.fetch_jwks(f"http://127.0.0.1:{port}"))
        with pytest.raises(trading.NotIdentified, match="can't be fetched"):
            await check.identify(issue(SIGNER), PLAIN)
