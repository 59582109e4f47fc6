"""How the demo upstream learns who is calling: it verifies `Portreeve-Identity` as any upstream should.

Invariant: a partner's name comes out only for an assertion that the gateway's published keys verify, for
this upstream, this environment, this moment and, where it names one, this very request. Refused, with a
reason and without the assertion: all others, and every one while the gateway's keys can't be had.
"""

import asyncio
import hashlib
import http.client
import urllib.parse
from collections.abc import Callable
from typing import Final

import msgspec

from auth import identity, identity_keys
from gateway.demo import trading, wire

JWKS_PATH: Final = "/.well-known/identity-jwks.json"
FETCH_TIMEOUT_S: Final = 2
MAX_JWKS_BYTES: Final = 65_536


class Expectation(msgspec.Struct, frozen=True):
    issuer: str
    audience: str
    environment: str


class AssertionVerifier:
    def __init__(
        self, keys: identity_keys.IdentityKeys, expected: Expectation, clock_ms: Callable[[], int]
    ) -> None:
        self._keys = keys
        self._expected = expected
        self._clock_ms = clock_ms

    async def identify(self, assertion: str, request: wire.Request) -> str:
        try:
            caller = await self._verify_with_keys(assertion)
            if caller.request is not None:
                identity.require_bound(caller, _describe(request))
        except identity.InvalidIdentity as error:
            raise trading.NotIdentified(f"the identity assertion does not hold: {error.reason}") from None
        except identity_keys.KeysUnavailable:
            raise trading.NotIdentified("the gateway's public keys can't be fetched") from None
        return caller.partner

    async def _verify_with_keys(self, assertion: str) -> identity.Identity:
        try:
            return self._verify(assertion, await self._keys.get())
        except identity.UnknownSigningKey:  # a new key signs: its public half is there to be fetched
            return self._verify(assertion, await self._keys.get_again())

    def _verify(self, assertion: str, jwks: identity.Jwks) -> identity.Identity:
        return identity.verify(
            assertion,
            jwks=jwks,
            issuer=self._expected.issuer,
            audience=self._expected.audience,
            environment=self._expected.environment,
            now_ms=self._clock_ms(),
        )


def _describe(request: wire.Request) -> identity.BoundRequest:
    path, _, query = request.target.encode("latin-1").partition(b"?")
    body_sha256 = hashlib.sha256(request.body).hexdigest()
    return identity.BoundRequest(request.method, identity.target_sha256(path, query), body_sha256)


async def fetch_jwks(base_url: str) -> object:
    return await asyncio.to_thread(_get_jwks, base_url)


def _get_jwks(base_url: str) -> object:
    place = urllib.parse.urlsplit(base_url)
    connection = http.client.HTTPConnection(
        place.hostname or "127.0.0.1", place.port or 80, timeout=FETCH_TIMEOUT_S
    )
    try:
        connection.request("GET", JWKS_PATH)
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise http.client.HTTPException(f"answered {response.status}")
        return msgspec.json.decode(response.read(MAX_JWKS_BYTES))
    finally:
        connection.close()
