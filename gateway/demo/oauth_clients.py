"""The demo's OAuth clients: one by FAPI 2.0, and one of the older kind that a shell can be.

Invariant: as with its keys, what authenticates a client is known only when it is made, so a client in `demo.json` is
used again for as long as it is there and not revoked; otherwise it gets a successor.
"""

import base64
from collections.abc import Callable
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.demo.contents import DemoClient
from keys import refusals
from keys.changes import Author
from keys.client_records import ClientRequest, GrantType
from keys.oauth_clients import OAuthClients

CALLBACK: Final = "http://127.0.0.1:8765/callback"
_PARTNER: Final = "acme"
_PERSONS: Final[tuple[GrantType, ...]] = (
    "client_credentials",
    "authorization_code",
    "refresh_token",
    "urn:ietf:params:oauth:grant-type:device_code",
)
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256
_SCALAR_BYTES: Final = 48  # more than the order has, so that no number of it is likelier than another

WANTED: Final = (
    ClientRequest(
        partner=_PARTNER,
        environment="paper",
        name="Demo trading service",
        grants=_PERSONS,
        roles=("trader",),
        permissions=("orders:read", "orders:write"),
        redirect_uris=(CALLBACK,),
    ),
    ClientRequest(
        partner=_PARTNER,
        environment="paper",
        name="Demo report, by secret",
        authentication="client_secret_basic",
        binding=None,
        roles=("viewer",),
        permissions=("orders:read",),
        exceptions=("client-secret", "bearer-tokens"),
    ),
)


async def seed(
    clients: OAuthClients, known: tuple[DemoClient, ...], entropy: Callable[[int], bytes], author: Author
) -> tuple[DemoClient, ...]:
    """Make what is missing; the partner is there already."""
    return tuple([await _find_or_create(clients, wanted, known, entropy, author) for wanted in WANTED])


async def _find_or_create(
    clients: OAuthClients,
    wanted: ClientRequest,
    known: tuple[DemoClient, ...],
    entropy: Callable[[int], bytes],
    author: Author,
) -> DemoClient:
    for client in known:
        if _fits(client, wanted) and await _still_works(clients, client.client_id):
            return client
    return await _create(clients, wanted, entropy, author)


def _scope(wanted: ClientRequest) -> str:
    return " ".join(wanted.permissions or ())


def _fits(client: DemoClient, wanted: ClientRequest) -> bool:
    described = (client.auth, client.environment, client.scope, client.partner, client.redirect_uris)
    asked = (wanted.authentication, wanted.environment, _scope(wanted), wanted.partner, wanted.redirect_uris)
    return described == asked


async def _still_works(clients: OAuthClients, client_id: str) -> bool:
    try:
        return (await clients.get(client_id)).revoked_at is None
    except refusals.NotFound:
        return False


async def _create(
    clients: OAuthClients, wanted: ClientRequest, entropy: Callable[[int], bytes], author: Author
) -> DemoClient:
    private = None
    if wanted.authentication == "private_key_jwt":
        private = _make_key(entropy)
        public = {name: value for name, value in private.items() if name != "d"}
        wanted = msgspec.structs.replace(wanted, public_key=msgspec.json.encode(public))
    made = await clients.create(wanted, author=author)
    return DemoClient(
        client_id=made.client.id,
        auth=wanted.authentication,
        environment=wanted.environment,
        partner=wanted.partner,
        scope=_scope(wanted),
        private_jwk=private,
        client_secret=None if made.secret is None else made.secret.reveal(),
        redirect_uris=wanted.redirect_uris,
    )


def _make_key(entropy: Callable[[int], bytes]) -> dict[str, str]:
    """A P-256 key pair as a JWK."""
    curve = ec.SECP256R1()
    number = 1 + int.from_bytes(entropy(_SCALAR_BYTES)) % (_ORDER - 1)
    point = ec.derive_private_key(number, curve).public_key().public_numbers()
    x, y, d = (_base64url(value.to_bytes(32)) for value in (point.x, point.y, number))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "d": d, "alg": "ES256", "kid": "demo"}


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
