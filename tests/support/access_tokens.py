"""A small world in which access tokens are verified: a ring, clients, partners, what was revoked. All in memory."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from auth import bearer, jose, presented
from auth.oauth.access_keys import AccessKeys
from auth.oauth.own_tokens import OwnTokens
from keys import format as key_format
from keys import ring, signing_keys
from keys.client_records import About
from keys.served_clients import ServedClient, ServedPartner
from policies import document
from tests.support import jws

NOW: Final = 1_763_596_800_000
ISSUER: Final = "https://gateway.example"
RESOURCE: Final = "https://gateway.example/api"
CLIENT_ID: Final = key_format.mint_client_id("paper", b"\x01" * 16)
PROOF_KEY: Final = jws.OTHER_P256
JKT: Final = jose.thumbprint(jws.public_jwk(PROOF_KEY))
POLICIES: Final = document.parse(
    b"""
[permissions."orders:read"]
description = "Read."
[permissions."orders:write"]
description = "Write."
trading = true
[roles.viewer]
permissions = ["orders:read"]
[roles.trader]
permissions = ["orders:read", "orders:write"]
[roles.officer]
permissions = ["orders:read", "orders:write", "control:keys-read"]
[tiers.standard]
""",
    "policies.toml",
)


def ring_key(seed: bytes = b"\x11" * 32, **change: Any) -> ring.RingKey:  # noqa: ANN401  any field
    private_key = signing_keys.from_bytes("ES256", seed)
    jwk = signing_keys.public_jwk(private_key)
    key = ring.RingKey(jwk["kid"], "active", private_key, jwk, None)
    return msgspec.structs.replace(key, **change)


def client(**change: Any) -> ServedClient:  # noqa: ANN401  any field
    fields: dict[str, Any] = {
        "id": CLIENT_ID,
        "partner": "acme",
        "tier": "standard",
        "environment": "paper",
        "name": "Acme settlement",
        "authentication": "private_key_jwt",
        "binding": "dpop",
        "grants": frozenset({"client_credentials"}),
        "roles": ("trader",),
        "permissions": None,
        "networks": (),
        "redirect_uris": (),
        "exceptions": frozenset(),
        "keys": (),
        "secrets": (),
        "keys_url": None,
        "certificate": None,
        "about": About(),
        "expires_at": None,
        "frozen": False,
        "revoked": False,
        "partner_frozen": False,
        "revision": 1,
    }
    return ServedClient(**{**fields, **change})


class World:
    """Change what it holds between two requests, as a node's memory changes."""

    def __init__(self, **rules: Any) -> None:  # noqa: ANN401  any rule
        self.keys: tuple[ring.RingKey, ...] = (ring_key(),)
        self.clients: dict[str, ServedClient] = {CLIENT_ID: client()}
        self.partners = {name: ServedPartner(name, "standard", frozen=False) for name in ("acme", "zephyr")}
        self.ended: set[str] = set()
        own = OwnTokens(AccessKeys(self), self, self, POLICIES, issuer=ISSUER, audiences=(ISSUER, RESOURCE))
        self.sources: dict[str, bearer.Source] = {ISSUER: own}
        self.rules = bearer.Rules(**{"origins": (ISSUER,), "nonces": None, **rules})
        self.authenticator = bearer.TokenAuthenticator(self.sources, self.rules)

    def find(self, client_id: str) -> ServedClient | None:
        return self.clients.get(client_id)

    def find_partner(self, partner_id: str) -> ServedPartner | None:
        return self.partners.get(partner_id)

    def revoked(self, jti: str, grant: str | None) -> bool:
        return jti in self.ended or grant in self.ended

    def token(self, header: dict[str, Any] | None = None, **claims: Any) -> str:  # noqa: ANN401  any claim
        """A right one, bound to `PROOF_KEY`, but for what is asked otherwise; what is None is left out."""
        key = self.keys[0]
        head = {"typ": "at+jwt", "kid": key.kid, "alg": "ES256", **(header or {})}
        return jws.compact(_given(head), _given({**right_claims(), **claims}), key.private_key)

    def present(self, token: str, *, scheme: presented.Scheme = "DPoP", **proof: Any) -> presented.Presented:  # noqa: ANN401
        made = jws.proof(**proof_of(token, **proof)) if scheme == "DPoP" else None
        return presented.Presented(
            scheme, token.encode(), None if made is None else made.encode(), signed=False
        )

    def verify(self, shown: presented.Presented, **change: Any) -> bearer.VerifiedToken:  # noqa: ANN401  any fact
        facts = bearer.Facts(
            **{"method": "GET", "path": "/a", "now_ms": NOW, "find_certificate": no_one, **change}
        )
        return self.authenticator.verify(shown, facts)


def right_claims() -> dict[str, Any]:
    return {
        "iss": ISSUER,
        "aud": ISSUER,
        "sub": CLIENT_ID,
        "client_id": CLIENT_ID,
        "iat": NOW // 1000,
        "exp": NOW // 1000 + 300,
        "jti": "token-1",
        "scope": "orders:read",
        "env": "paper",
        "cnf": {"jkt": JKT},
    }


def proof_of(token: str, **change: Any) -> dict[str, Any]:  # noqa: ANN401  any claim
    return {
        "key": PROOF_KEY,
        "jti": "proof-1",
        "htm": "GET",
        "htu": f"{ISSUER}/a",
        "iat": NOW // 1000,
        "ath": jws.hashed(token),
        **change,
    }


def no_one() -> str | None:
    return None


def _given(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
