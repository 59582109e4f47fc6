"""Clients and people as the authorization server meets them: served values, with the rows that the store asks for."""

from collections.abc import Callable
from typing import Any, Final
from urllib import parse

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from auth.admission import AdmissionStore
from auth.admission.memory import MemoryAdmission
from auth.oauth import flows
from auth.oauth.authorization import PendingAuthorization
from auth.oauth.codes import Presented
from auth.oauth.ground import Ground
from auth.oauth.standing import Bound, Redeemed
from auth.oauth.terms import Terms
from keys import format as key_format
from keys.changes import Author
from keys.client_records import About
from keys.served_clients import ServedClient, ServedPartner
from policies import document
from storage import engine as storage_engine
from storage import schema
from tests.support.custody import START_MS, FakeClock, Room

ISSUER: Final = "https://id.example"
API: Final = "https://api.example"
REDIRECT: Final = "https://app.example/callback"
DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"

CLIENT_ID: Final = key_format.mint_client_id("paper", b"\x01" * 16)
OTHER_ID: Final = key_format.mint_client_id("paper", b"\x02" * 16)

VERIFIER: Final = "v" * 43
# SHA-256 of the verifier, in base64url.
CHALLENGE: Final = "7w_YNF9DSfIdPf_pRjSq646_kPr-2-o9NAl16JGghdM"
POLICIES: Final = document.parse(
    b"""
    [permissions]
    "orders:read" = { description = "See orders" }
    "orders:write" = { description = "Place orders", trading = true }
    "prices:read" = { description = "See prices" }

    [roles.trader]
    permissions = ["orders:read", "orders:write", "prices:read"]

    [roles.viewer]
    permissions = ["orders:read", "prices:read"]

    [roles.officer]
    permissions = ["control:freeze", "orders:read"]

    [tiers.standard]
    """,
    "the tests' policies",
)
JKT: Final = "k" * 43
BOUND: Final = Bound(jkt=JKT)
TERMS: Final = Terms(
    issuer=ISSUER,
    resources=(ISSUER, API),
    request_ms=90_000,
    code_ms=60_000,
    refresh_ms=30 * 86_400_000,
    device_ms=600_000,
    access_ms=300_000,
)


class Somebody(msgspec.Struct, frozen=True, kw_only=True):
    """Signed in. Their account is `ann` and their partner `acme`, unless a test says otherwise."""

    account_id: str = "ann"
    partner: str | None = "acme"
    roles: tuple[str, ...] = ("trader",)
    methods: frozenset[str] = frozenset({"pwd", "otp"})
    authenticated_at: int = START_MS


ANN: Final = Somebody()


def make_client(**change: Any) -> ServedClient:  # noqa: ANN401  any field
    """A confidential one of `acme` whose tokens are bound by DPoP, and which uses every grant."""
    fields: dict[str, Any] = {
        "id": CLIENT_ID,
        "partner": "acme",
        "tier": "standard",
        "environment": "paper",
        "name": "Desk",
        "authentication": "private_key_jwt",
        "binding": "dpop",
        "grants": frozenset({"client_credentials", "authorization_code", "refresh_token", DEVICE}),
        "roles": ("trader",),
        "permissions": None,
        "networks": (),
        "redirect_uris": (REDIRECT, "http://127.0.0.1/callback"),
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
    return ServedClient(**fields | change)


CLIENT: Final = make_client()
PUBLIC: Final = make_client(
    id=OTHER_ID,
    authentication="none",
    binding=None,
    exceptions=frozenset({"public-client", "bearer-tokens"}),
    name="Phone",
)


class KnownClients:
    """Served from memory; a test changes what is in it."""

    def __init__(self, *clients: ServedClient) -> None:
        self.clients = {client.id: client for client in clients}
        self.partners = {"acme": ServedPartner("acme", "standard", frozen=False)}

    def find(self, client_id: str) -> ServedClient | None:
        return self.clients.get(client_id)

    def find_partner(self, partner_id: str) -> ServedPartner | None:
        return self.partners.get(partner_id)


class Side(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One node's flows. `another` shares the store, the clock and the clients with it, and nothing else."""

    room: Room
    engine: AsyncEngine
    clients: KnownClients
    ground: Ground
    flows: flows.Flows

    @property
    def clock(self) -> FakeClock:
        return self.room.clock


def build_side(
    room: Room,
    clients: KnownClients,
    entropy: Callable[[int], bytes],
    admission: AdmissionStore | None = None,
) -> Side:
    ground = Ground(
        engine=room.engine,
        changes=room.changes,
        clients=clients,
        policies=POLICIES,
        admission=admission or MemoryAdmission(lambda: room.clock() * 1000, 600_000),
        clock=room.clock,
        entropy=entropy,
        terms=TERMS,
    )
    return Side(room=room, engine=room.engine, clients=clients, ground=ground, flows=flows.build(ground))


async def enter_client(room: Room, client: ServedClient) -> None:
    """The rows that others refer to."""
    async with storage_engine.transaction(room.engine) as conn:
        secret = {"id": client.id, "kind": "oauth-client", "environment": client.environment}
        await conn.execute(
            sa.insert(schema.secrets).values(
                **secret, partner_id=client.partner, created_at=START_MS, revision=1
            )
        )
        await conn.execute(
            sa.insert(schema.oauth_clients).values(
                id=client.id,
                partner_id=client.partner,
                environment=client.environment,
                name=client.name,
                authentication=client.authentication,
                binding=client.binding,
                grants=sorted(client.grants),
                roles=list(client.roles),
                redirect_uris=list(client.redirect_uris),
                cidrs=[],
                exceptions=sorted(client.exceptions),
                about={},
                created_at=START_MS,
                revision=1,
            )
        )


async def enter_account(room: Room, person: Somebody) -> None:
    await enter_account_row(room.engine, person)


async def enter_account_row(engine: AsyncEngine, person: Somebody) -> None:
    async with storage_engine.transaction(engine) as conn:
        await conn.execute(
            sa.insert(schema.accounts).values(
                id=person.account_id,
                email=f"{person.account_id}@example.com",
                shown_email=f"{person.account_id}@example.com",
                name=person.account_id,
                partner_id=person.partner,
                roles=list(person.roles),
                state="active",
                created_at=START_MS,
                revision=1,
            )
        )


async def change_account(room: Room, account_id: str, **values: object) -> None:
    async with storage_engine.transaction(room.engine) as conn:
        changing = sa.update(schema.accounts).where(schema.accounts.c.id == account_id)
        await conn.execute(changing.values(**values))


async def enter_partner(room: Room, partner: str) -> None:
    await room.custody.create_partner(partner, partner, "standard", author=Author("operator"))


async def populate(room: Room) -> None:
    """A partner, two clients, and Ann."""
    await enter_partner(room, "acme")
    for client in (CLIENT, PUBLIC):
        await enter_client(room, client)
    await enter_account(room, ANN)


def form(**change: str | None) -> dict[str, str]:
    """What a client pushes; None leaves a parameter out."""
    whole: dict[str, str | None] = {
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": "orders:read prices:read",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "state": "a state",
    }
    return {name: value for name, value in (whole | change).items() if value is not None}


def answer_of(location: str) -> dict[str, str]:
    """The parameters that the browser is sent back with."""
    return dict(parse.parse_qsl(parse.urlsplit(location).query, strict_parsing=True))


async def push(
    side: Side, client: ServedClient = CLIENT, *, proved: str | None = None, **change: str | None
) -> PendingAuthorization:
    """Pushed, and looked up by the page."""
    pushed = await side.flows.requests.push(client, form(**change), proved)
    return await side.flows.authorization.find(client.id, pushed.request_uri)


async def allow(
    side: Side,
    client: ServedClient = CLIENT,
    person: Somebody = ANN,
    *,
    proved: str | None = None,
    **change: str | None,
) -> str:
    """A code, from a person who allows all that is asked for."""
    pending = await push(side, client, proved=proved, **change)
    location = await side.flows.authorization.approve(pending, person, frozenset(pending.scope))
    return answer_of(location)["code"]


def show(code: str, **change: Any) -> Presented:  # noqa: ANN401  any field
    fields: dict[str, Any] = {"redirect_uri": REDIRECT, "verifier": VERIFIER, "bound": BOUND}
    return Presented(**fields | change, code=code)


async def begin(side: Side, client: ServedClient = CLIENT, bound: Bound = BOUND) -> tuple[Redeemed, str]:
    """A code that was redeemed, and the refresh token that came of it."""
    redeemed = await side.flows.codes.redeem(client, show(await allow(side, client), bound=bound))
    if redeemed.refresh is None:
        raise AssertionError("nothing to refresh with")
    return redeemed, redeemed.refresh.reveal()
