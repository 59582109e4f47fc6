"""What an access token costs: client credentials by signed assertion (ES256), with and without a DPoP proof (ES256).

What is compared with is a rate per core that others publish for theirs. The load comes from a few clients over
connections that are kept; every assertion and proof is made before, and used once. Where there is a Redis it counts and
remembers; the database is not asked for a token.
"""

from __future__ import annotations

import asyncio
import http.client
import itertools
import os
import socket
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct, json

from auth import jose
from bench.contenders.requests import assembled
from bench.ground import Ground
from bench.scenarios import measuring
from gateway import clocks, composition, settings
from keys import signing_keys
from keys.changes import Author
from keys.client_records import ClientRequest
from keys.oauth_clients import OAuthClients

TARGET: Final = "at least 500 access tokens by private_key_jwt (ES256) a second and core"
_LEAST: Final = 500
_CLIENTS: Final = 10
_TIMEOUT_S: Final = 30
_AUTHOR: Final = Author("bench")
_ISSUER: Final = "https://bench.example"
_PATH: Final = "/oauth/token"
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_NUMBERS: Final = itertools.count(1)
_FIGURES: Final = ("cpu_us", "rps", "p50_ms", "p99_ms")


class _Client(Struct, frozen=True):
    id: str
    key: jose.PrivateKey
    proof_key: ec.EllipticCurvePrivateKey | None

    def request(self, nonce: str | None) -> bytes:
        now = int(time.time())
        claims = {"iss": self.id, "sub": self.id, "aud": _ISSUER, "iat": now, "exp": now + 60}
        assertion = jose.sign({"typ": "JWT"}, {**claims, "jti": str(next(_NUMBERS))}, self.key)
        form = {"grant_type": "client_credentials", "client_assertion_type": _ASSERTION}
        lines = "content-type: application/x-www-form-urlencoded\r\n"
        if self.proof_key is not None:
            lines += f"dpop: {_prove(self.proof_key, now, nonce)}\r\n"
        body = urlencode({**form, "client_assertion": assertion}).encode()
        return assembled("POST", _PATH, lines, body)


def _prove(key: ec.EllipticCurvePrivateKey, now: int, nonce: str | None) -> str:
    jwk = signing_keys.public_jwk(key)
    public = {name: jwk[name] for name in ("kty", "crv", "x", "y")}
    claims = {"htm": "POST", "htu": _ISSUER + _PATH, "iat": now, "jti": str(next(_NUMBERS))}
    said = claims if nonce is None else {**claims, "nonce": nonce}
    return jose.sign({"typ": "dpop+jwt", "jwk": public}, said, key)


def run(ground: Ground, *, quick: bool) -> dict[str, Any]:
    rounds, count = (1, 2_000) if quick else (3, 8_000)
    clients: dict[str, list[_Client]] = {}

    def fill(configuration: Path) -> None:
        clients.update(asyncio.run(_create(configuration)))

    url = measuring.store_url(ground, 3)
    with measuring.deployed(ground, redis_url=url, prepare=fill) as deployment:
        seen: dict[str, dict[str, float]] = {}
        for name, those in clients.items():
            measuring.send(deployment.port, _requests(deployment.port, those, 500), ground.folder)
            runs = [
                measuring.drive(
                    deployment.port,
                    deployment.gateway.pid,
                    _requests(deployment.port, those, count),
                    ground.folder,
                )
                for _ in range(rounds)
            ]
            figures = measuring.medians(runs, _FIGURES)
            seen[name] = {**figures, "per_core": round(1e6 / figures["cpu_us"])}
    return {"target": TARGET, "met": all(each["per_core"] >= _LEAST for each in seen.values()), "bound": seen}


def _requests(port: int, clients: list[_Client], count: int) -> list[bytes]:
    """All of them of one moment: neither an assertion nor a nonce is good for long."""
    nonce = None if clients[0].proof_key is None else _nonce(port, clients[0])
    return [client.request(nonce) for client in itertools.islice(itertools.cycle(clients), count)]


def _nonce(port: int, client: _Client) -> str:
    """As the refusal of a proof without one tells it."""
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as connection:
        connection.sendall(client.request(None))
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.headers["dpop-nonce"]


async def _create(configuration: Path) -> dict[str, list[_Client]]:
    async with composition.opened_store(settings.load(configuration), clocks.wall_ms) as store:
        await store.custody.create_partner("tokens", "Tokens", "standard", author=_AUTHOR)
        return {
            "nothing": [await _register(store.oauth_clients, proves=False) for _ in range(_CLIENTS)],
            "dpop": [await _register(store.oauth_clients, proves=True) for _ in range(_CLIENTS)],
        }


async def _register(clients: OAuthClients, *, proves: bool) -> _Client:
    key = signing_keys.from_bytes("ES256", signing_keys.mint("ES256", os.urandom))
    jwk = {name: value for name, value in signing_keys.public_jwk(key).items() if name != "use"}
    request = ClientRequest(
        partner="tokens",
        environment="paper",
        name="bench",
        roles=("reader",),
        public_key=json.encode(jwk),
        binding="dpop" if proves else None,
        exceptions=() if proves else ("bearer-tokens",),
    )
    created = await clients.create(request, author=_AUTHOR)
    proof_key = ec.generate_private_key(ec.SECP256R1()) if proves else None
    return _Client(created.client.id, key, proof_key)
