"""Reading served OAuth clients out of the store: the query, and what a group of its rows becomes.

Invariant: one query brings a client whole, with its partner and what may authenticate it. A version whose ciphertext
does not open, or whose key cannot be read, is left out and named; it never takes its client with it, so that a
revocation is learned even when the secret is not.
"""

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from keys import envelope, oauth_client_secrets, public_jwks, rotation
from keys.client_records import About, Certificate
from keys.secret import SecretBytes
from keys.served_clients import Jwk, ServedClient, ServedPartner
from storage import schema

_CLIENTS: Final = schema.oauth_clients
_PARTNERS: Final = schema.partners
_VERSIONS: Final = schema.secret_versions
# What stands in the client's own row, and is served as it stands.
_AS_IT_IS: Final = ("id", "environment", "name", "authentication", "binding", "keys_url", "expires_at")
_SELECT: Final = (
    sa.select(
        *(_CLIENTS.c[name] for name in _AS_IT_IS),
        _CLIENTS.c.partner_id.label("partner"),
        *(
            _CLIENTS.c[name]
            for name in ("grants", "roles", "permissions", "redirect_uris", "cidrs", "exceptions")
        ),
        _CLIENTS.c.certificate,
        _CLIENTS.c.about,
        _CLIENTS.c.frozen_at,
        _CLIENTS.c.revoked_at,
        _CLIENTS.c.revision.label("own_revision"),
        _PARTNERS.c.tier,
        _PARTNERS.c.frozen_at.label("partner_frozen_at"),
        _PARTNERS.c.revision.label("partner_revision"),
        _VERSIONS.c.version,
        _VERSIONS.c.ciphertext,
        _VERSIONS.c.data_key_id,
        _VERSIONS.c.public_key,
    )
    .select_from(_CLIENTS)
    .join(_PARTNERS, _PARTNERS.c.id == _CLIENTS.c.partner_id)
    .join(
        _VERSIONS,
        sa.and_(_VERSIONS.c.secret_id == _CLIENTS.c.id, _VERSIONS.c.state.in_(rotation.VERIFYING)),
        isouter=True,
    )
    .order_by(_CLIENTS.c.id, _VERSIONS.c.version)
)


class Unopened(NamedTuple):
    """Why a version is not served: its data key is not open yet (`data_key_id`), or it is broken (None)."""

    client_id: str
    version: int
    data_key_id: str | None


class Built(NamedTuple):
    client: ServedClient
    unopened: tuple[Unopened, ...]


# Of columns made out of names: nothing types them one by one.
Row = Any
FindDataKey = Callable[[str], SecretBytes | None]
# The digest of a client's version, where it is served already. A version's secret never changes.
FindServed = Callable[[str, int], SecretBytes | None]


class CorruptClient(Exception):
    def __init__(self, client_id: str) -> None:
        super().__init__(f"the stored rows of client {client_id} cannot be read")


async def read_all(conn: AsyncConnection) -> Sequence[Row]:
    return (await conn.execute(_SELECT)).all()


async def read_changed(conn: AsyncConnection, since: int) -> Sequence[Row]:
    """Every client that changed after revision `since`, and every client of a partner that did."""
    own = sa.select(_CLIENTS.c.id).where(_CLIENTS.c.revision > since)
    through_partner = (
        sa.select(_CLIENTS.c.id)
        .join(_PARTNERS, _PARTNERS.c.id == _CLIENTS.c.partner_id)
        .where(_PARTNERS.c.revision > since)
    )
    changed = sa.union(own, through_partner).subquery()
    return (await conn.execute(_SELECT.where(_CLIENTS.c.id.in_(sa.select(changed.c.id))))).all()


async def read_partners(conn: AsyncConnection, since: int | None) -> list[ServedPartner]:
    query = sa.select(_PARTNERS.c.id, _PARTNERS.c.tier, _PARTNERS.c.frozen_at)
    if since is not None:
        query = query.where(_PARTNERS.c.revision > since)
    return [ServedPartner(row.id, row.tier, row.frozen_at is not None) for row in await conn.execute(query)]


def by_client(rows: Iterable[Row]) -> Iterator[list[Row]]:
    for _, group in groupby(rows, key=attrgetter("id")):
        yield list(group)


def build(rows: Sequence[Row], find_data_key: FindDataKey, find_served: FindServed) -> Built:
    """One served client from all its rows."""
    try:
        return _build(rows, find_data_key, find_served)
    except (ValueError, msgspec.ValidationError) as cause:
        raise CorruptClient(rows[0].id) from cause


def _build(rows: Sequence[Row], find_data_key: FindDataKey, find_served: FindServed) -> Built:
    keys: list[tuple[int, Jwk]] = []
    secrets: list[tuple[int, SecretBytes]] = []
    unopened: list[Unopened] = []
    for row in rows:
        if row.version is None:
            continue
        if row.public_key is not None:
            keys.append((row.version, public_jwks.parse_serialised(row.public_key).members))
            continue
        found = _open(row, find_data_key, find_served)
        if isinstance(found, Unopened):
            unopened.append(found)
        else:
            secrets.append((row.version, found))
    return Built(_build_client(rows[0], tuple(keys), tuple(secrets)), tuple(unopened))


def _build_client(
    row: Row, keys: tuple[tuple[int, Jwk], ...], secrets: tuple[tuple[int, SecretBytes], ...]
) -> ServedClient:
    certificate = None if row.certificate is None else msgspec.convert(row.certificate, Certificate)
    return ServedClient(
        **{name: getattr(row, name) for name in _AS_IT_IS},
        partner=row.partner,
        tier=row.tier,
        grants=frozenset(row.grants),
        roles=tuple(row.roles),
        permissions=None if row.permissions is None else tuple(row.permissions),
        networks=tuple(ipaddress.ip_network(cidr) for cidr in row.cidrs),
        redirect_uris=tuple(row.redirect_uris),
        exceptions=frozenset(row.exceptions),
        keys=keys,
        secrets=secrets,
        certificate=certificate,
        about=msgspec.convert(row.about, About),
        frozen=row.frozen_at is not None,
        revoked=row.revoked_at is not None,
        partner_frozen=row.partner_frozen_at is not None,
        revision=max(row.own_revision, row.partner_revision),
    )


def _open(row: Row, find_data_key: FindDataKey, find_served: FindServed) -> SecretBytes | Unopened:
    if row.ciphertext is None or row.data_key_id is None:
        return Unopened(row.id, row.version, None)
    # Sealed again under a data key that is not open yet: what was open once needs no opening.
    served = find_served(row.id, row.version)
    if served is not None:
        return served
    data_key = find_data_key(row.data_key_id)
    if data_key is None:
        return Unopened(row.id, row.version, row.data_key_id)
    try:
        return oauth_client_secrets.open_digest(
            data_key,
            row.ciphertext,
            client_id=row.id,
            version=row.version,
            environment=row.environment,
        )
    except envelope.EnvelopeRefused:
        return Unopened(row.id, row.version, None)
