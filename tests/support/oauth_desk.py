"""An authorization server without HTTP: the real parts on one store, with a clock of the test's own.

`Desk.request` is what an endpoint would have read; `Desk.ask` takes it to the token endpoint. What a partner holds of a
client makes assertions and proofs as a good client would, and wrong on purpose where a test says so.
"""

import itertools
import os
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from auth import dpop
from auth.admission.memory import MemoryAdmission
from auth.oauth import assertions, bridge, errors, metadata
from auth.oauth.access_tokens import AccessTokens
from auth.oauth.admissions import Admissions, Throttle
from auth.oauth.certificates import ClientCertificate
from auth.oauth.client_authentication import ClientAuthentication
from auth.oauth.client_credentials import ClientCredentials
from auth.oauth.client_keys import ClientKeys, KeyFetcher, Keys, KeysUnreachable
from auth.oauth.decoys import Decoys
from auth.oauth.grants import OAuthGrants
from auth.oauth.issued_tokens import IssuedTokens
from auth.oauth.possession import Proofs
from auth.oauth.requests import TokenRequest
from auth.oauth.terms import Terms
from keys.client_directory import ServedClients
from keys.ring import ACCESS, Ring
from policies import document
from policies.document import Policies
from policies.gcra import Limit
from tests.support import custody, jws, oauth_clients
from tests.support.custody import Room
from tests.support.oauth_clients import MadeClient

ISSUER = "https://gateway.test"
OTHER_RESOURCE = "https://other.test/api"
TOKEN_URL = ISSUER + "/oauth/token"
POLICIES = b"""
two_persons = false
[permissions]
"orders:read" = { description = "See orders" }
"orders:write" = { description = "Place and cancel orders", trading = true }
[roles]
viewer = { permissions = ["orders:read"] }
trader = { permissions = ["orders:read", "orders:write"] }
operator = { permissions = ["orders:read", "control:keys-read"] }
[tiers.standard]
"""
PLENTY = Limit("plenty", 100_000, 1_000_000, 100_000)
_numbers = itertools.count(1)

Known = dict[str, Any]


class NoFetcher:
    """Where keys at addresses are not taken."""

    async def fetch(self, url: str) -> Keys:  # noqa: ARG002  whichever
        raise KeysUnreachable


class Desk(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    room: Room
    ring: Ring
    clients: ServedClients
    policies: Policies
    nonces: dpop.Nonces
    authentication: ClientAuthentication
    access_tokens: AccessTokens
    server: bridge.Server
    issued: IssuedTokens
    grants: OAuthGrants

    async def made(self, make: Any = oauth_clients.made, **fields: Any) -> MadeClient:  # noqa: ANN401  as `make` takes
        """Registered, and served."""
        client: MadeClient = await make(self.room.oauth_clients, **fields)
        await self.clients.refresh()
        return client

    def now_s(self) -> int:
        return self.room.clock.now_ms // 1000

    def assertion(
        self,
        client: MadeClient,
        *,
        header: Known | None = None,
        key: Any = None,  # noqa: ANN401  any private key, or bytes
        **claims: Any,  # noqa: ANN401  any claim, wrong ones too; None leaves it out
    ) -> str:
        signer: Any = key or client.private_key
        algorithm = "ES256"
        if not isinstance(signer, bytes):
            algorithm = {"EC": "ES256", "OKP": "EdDSA", "RSA": "PS256"}[jws.public_jwk(signer)["kty"]]
        now = self.now_s()
        said = {"iss": client.id, "sub": client.id, "aud": ISSUER, "iat": now, "exp": now + 60}
        whole = {**said, "jti": f"assertion-{next(_numbers)}", **claims}
        named = {"alg": algorithm, "kid": client.kid, "typ": "JWT", **(header or {})}
        return jws.compact(_given(named), _given(whole), signer)

    def proof(self, *, url: str = TOKEN_URL, key: Any = jws.P256, **claims: Any) -> str:  # noqa: ANN401  as above
        said = {
            "htm": "POST",
            "htu": url,
            "iat": self.now_s(),
            "jti": f"proof-{next(_numbers)}",
            "nonce": self.nonces.current(),
        }
        return jws.proof(key, **{**said, **claims})

    def form(self, client: MadeClient, assertion: str | None = None, **parameters: str) -> dict[str, str]:
        """As a client with keys fills it in."""
        return {
            "grant_type": "client_credentials",
            "client_assertion_type": assertions.ASSERTION_TYPE,
            "client_assertion": assertion or self.assertion(client),
            **parameters,
        }

    def request(self, form: Known, **fields: Any) -> TokenRequest:  # noqa: ANN401  any field of a request
        asked: Known = {
            "form": form,
            "source": "192.0.2.7",
            "network": "192.0.2.7",
            "url": TOKEN_URL,
            "now_ms": self.room.clock.now_ms,
        }
        return TokenRequest(**asked | fields)

    def good(self, client: MadeClient, **parameters: str) -> TokenRequest:
        """One that passes: an assertion and a proof, both fresh."""
        return self.request(self.form(client, **parameters), dpop=(self.proof(),))

    async def ask(self, request: TokenRequest) -> Known:
        return dict((await self.server.respond(request)).body)

    async def refused(self, request: TokenRequest) -> errors.OAuthError:
        try:
            answer = await self.server.respond(request)
        except errors.OAuthError as refused:
            return refused
        raise AssertionError(f"it passed: {sorted(answer.body)}")


async def opened(
    engine: AsyncEngine,
    *,
    fetcher: KeyFetcher | None = None,
    limit: Limit = PLENTY,
    source_limit: Limit = PLENTY,
    remembers_since_ms: Callable[[], int] = lambda: 0,
) -> Desk:
    room = custody.build_room(engine)
    await room.custody.create_partner("acme", "Acme Trading", "standard", author=oauth_clients.AUTHOR)
    ring = Ring(engine, room.data_keys, room.changes, room.clock, os.urandom, name=ACCESS, algorithm="ES256")
    await ring.ensure(author=oauth_clients.AUTHOR)
    clients = ServedClients(engine, room.data_keys)
    await clients.refresh()
    policies = document.parse(POLICIES, "policies.toml")
    nonces = dpop.Nonces(lambda: ring.derive(b"nonces"), room.clock)
    authentication = ClientAuthentication(
        clients,
        ClientKeys(fetcher or NoFetcher(), room.clock),
        Decoys(os.urandom),
        Throttle(source_limit, limit, lambda: room.clock() * 1000),
        Admissions(MemoryAdmission(lambda: room.clock() * 1000, 140_000), limit),
        Proofs(nonces),
        issuer=ISSUER,
        remembers_since_ms=remembers_since_ms,
    )
    terms = build_terms()
    access_tokens = AccessTokens(ring.get_signer, ISSUER, entropy=os.urandom, lifetime_ms=terms.access_ms)
    server = bridge.Server(authentication)
    server.register(ClientCredentials, policies=policies, terms=terms, access_tokens=access_tokens)
    grants = OAuthGrants(engine, room.changes)
    return Desk(
        room=room,
        ring=ring,
        clients=clients,
        policies=policies,
        nonces=nonces,
        authentication=authentication,
        access_tokens=access_tokens,
        server=server,
        issued=IssuedTokens(engine, room.changes, grants, ring.jwks, ISSUER),
        grants=grants,
    )


def build_terms() -> Terms:
    return Terms(
        issuer=ISSUER,
        resources=(ISSUER, OTHER_RESOURCE),
        request_ms=90_000,
        code_ms=60_000,
        refresh_ms=86_400_000,
        device_ms=600_000,
        access_ms=300_000,
    )


def offer() -> metadata.Offer:
    return metadata.Offer(
        issuer=ISSUER,
        resources=(ISSUER, OTHER_RESOURCE),
        scopes=("orders:read", "orders:write"),
        grant_types=("client_credentials", "authorization_code"),
        docs=ISSUER + "/docs",
        certificates=False,
        registration=False,
    )


def certificate(thumbprint: str) -> ClientCertificate:
    """One that a TLS server has seen; nothing of it but the thumbprint matters here."""
    from cryptography import x509  # noqa: PLC0415

    return ClientCertificate(
        der=b"",
        thumbprint=thumbprint,
        subject_dn="",
        san_dns=(),
        san_uri=(),
        san_ip=(),
        san_email=(),
        not_before_ms=0,
        not_after_ms=2**53,
        self_issued=True,
        subject=x509.Name([]),
    )


def _given(members: Known) -> Known:
    return {name: value for name, value in members.items() if value is not None}
