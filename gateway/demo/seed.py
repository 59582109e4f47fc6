"""The demo's partners, keys and OAuth clients, and the file by which scripts find them.

Invariant: a secret is known only when it is made, so a key whose secret stands in `demo.json` is used again
for as long as it is there and works; one that is gone or revoked gets a successor. Frozen keys stay as they
are: somebody froze them to see what happens.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ed25519

from gateway.cli.credentials import DemoKey
from gateway.demo import oauth_clients, private_file
from gateway.demo.contents import Contents, DemoOperator
from keys import refusals
from keys.changes import Author
from keys.custody import Custody
from keys.environment import Environment
from keys.oauth_clients import OAuthClients
from keys.records import Algorithm, KeyRequest

FILE_NAME: Final = "demo.json"
AUTHOR: Final = Author("demo")
TIER: Final = "standard"
PARTNERS: Final = (
    ("acme", "Acme Trading"),
    ("borealis", "Borealis Markets"),
    # Whoever keeps this gateway: their keys are a partner's like any other, with roles that reach all partners.
    ("operations", "Gateway Operations"),
)

# Those who are known, and those who then sign in.
SeedPeople = Callable[[tuple[DemoOperator, ...]], Awaitable[tuple[DemoOperator, ...]]]


class WantedKey(msgspec.Struct, frozen=True):
    partner: str
    environment: Environment
    algorithm: Algorithm
    roles: tuple[str, ...]


WANTED: Final = (
    WantedKey("acme", "paper", "hmac-sha256", ("trader",)),
    WantedKey("acme", "paper", "ed25519", ("trader",)),
    WantedKey("acme", "paper", "hmac-sha256", ("viewer",)),
    WantedKey("acme", "live", "hmac-sha256", ("trader",)),
    WantedKey("borealis", "paper", "hmac-sha256", ("trader",)),
    WantedKey("acme", "paper", "hmac-sha256", ("partner-admin",)),
    WantedKey("operations", "paper", "hmac-sha256", ("security-officer",)),
    WantedKey("operations", "live", "hmac-sha256", ("security-officer",)),
)


async def seed(  # noqa: PLR0913  whose custody it is made in, and where it is told
    custody: Custody,
    clients: OAuthClients,
    file: Path,
    base_url: str,
    entropy: Callable[[int], bytes],
    *,
    people: SeedPeople | None = None,
) -> Contents:
    """Make what is missing, and write the file."""
    existing = {partner.id for partner in await custody.list_partners()}
    for partner_id, name in PARTNERS:
        if partner_id not in existing:
            await custody.create_partner(partner_id, name, TIER, author=AUTHOR)
    known = _read_known(file)
    keys = tuple([await _find_or_create(custody, wanted, known.keys, entropy) for wanted in WANTED])
    made = await oauth_clients.seed(clients, known.oauth_clients, entropy, AUTHOR)
    operators = known.operators if people is None else await people(known.operators)
    credentials = Contents(base_url=base_url, keys=keys, oauth_clients=made, operators=operators)
    private_file.write(file, msgspec.json.format(msgspec.json.encode(credentials), indent=2) + b"\n")
    return credentials


def _read_known(file: Path) -> Contents:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Contents)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        return Contents(base_url="")  # nothing there to be used again: every key gets a successor


async def _find_or_create(
    custody: Custody, wanted: WantedKey, known: tuple[DemoKey, ...], entropy: Callable[[int], bytes]
) -> DemoKey:
    for key in known:
        if _fits(key, wanted) and await _still_works(custody, key.id):
            return key
    return await _create(custody, wanted, entropy)


def _fits(key: DemoKey, wanted: WantedKey) -> bool:
    described = (key.partner, key.environment, key.algorithm, key.roles)
    return described == (wanted.partner, wanted.environment, wanted.algorithm, wanted.roles)


async def _still_works(custody: Custody, key_id: str) -> bool:
    try:
        return (await custody.get_key(key_id)).revoked_at is None
    except refusals.NotFound:
        return False


async def _create(custody: Custody, wanted: WantedKey, entropy: Callable[[int], bytes]) -> DemoKey:
    private = None
    if wanted.algorithm == "ed25519":
        private = ed25519.Ed25519PrivateKey.from_private_bytes(entropy(32))
    asked = KeyRequest(
        partner=wanted.partner,
        environment=wanted.environment,
        algorithm=wanted.algorithm,
        roles=wanted.roles,
        public_key=None if private is None else private.public_key().public_bytes_raw(),
        label="demo",
    )
    created = await custody.create_key(asked, author=AUTHOR)
    return DemoKey(
        id=created.key.id,
        algorithm=wanted.algorithm,
        environment=wanted.environment,
        roles=wanted.roles,
        partner=wanted.partner,
        secret=None if created.secret is None else created.secret.reveal(),
        private_key_hex=None if private is None else private.private_bytes_raw().hex(),
    )
