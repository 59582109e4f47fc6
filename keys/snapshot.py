"""Reading served keys out of the store: the query, and what a group of its rows becomes.

Invariant: one query brings a key whole, with its partner and its versions. A version whose ciphertext does
not open is left out and named; it never takes its key, or any other key, with it, so that a revocation is
learned even when the secret is not. What equals in thousands of keys, such as their roles, is one value that all of
them share: a request then finds it in the processor's caches, whoever asked last.
"""

import ipaddress
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple, TypeVar, cast

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.ext.asyncio import AsyncConnection

from keys import api_keys, envelope
from keys.environment import Environment
from keys.records import Algorithm, VersionState
from keys.secret import HmacKey, SecretBytes
from keys.served import Entitlement, ServedKey, ServedVersion
from storage import schema

# A key being rotated has an active and a retiring version, which `rotation` never lets become more; a revoked key keeps
# as many, and a verifier checks no more.
_MOST_VERSIONS: Final = 2
# Past the bound, keys only share less.
_MOST_SHARED: Final = 4_096
_KEYS: Final = schema.api_keys
_PARTNERS: Final = schema.partners
_VERSIONS: Final = schema.secret_versions


class Row(NamedTuple):
    id: str
    partner: str
    tier: str
    environment: Environment
    algorithm: Algorithm
    roles: list[str]
    permissions: list[str] | None
    cidrs: list[str]
    expires_at: int | None
    frozen_at: int | None
    revoked_at: int | None
    partner_frozen_at: int | None
    key_revision: int
    partner_revision: int
    version: int | None
    state: VersionState
    ciphertext: bytes | None
    data_key_id: str | None
    public_key: bytes | None


class Unopened(NamedTuple):
    """Why a version is not served: its data key is not open yet (`data_key_id`), or it is broken (None)."""

    key_id: str
    version: int
    data_key_id: str | None


class CorruptKey(Exception):
    def __init__(self, key_id: str) -> None:
        super().__init__(f"the stored rows of key {key_id} cannot be read")


class Built(NamedTuple):
    key: ServedKey
    unopened: tuple[Unopened, ...]


FindDataKey = Callable[[str], SecretBytes | None]
# The secret of a key's version, where it is served already. A version's secret never changes.
FindServed = Callable[[str, int], HmacKey | None]

_VERIFIES: Final = sa.or_(
    _VERSIONS.c.state.in_(("active", "retiring")),
    # What never served takes no place from what did: its holder has nothing to be told.
    sa.and_(
        _VERSIONS.c.state == "revoked",
        _VERSIONS.c.activated_at.is_not(None),
        _KEYS.c.revoked_at.is_not(None),
    ),
)
_SELECT: Final = (
    sa.select(
        _KEYS.c.id,
        _KEYS.c.partner_id,
        _PARTNERS.c.tier,
        _KEYS.c.environment,
        _KEYS.c.algorithm,
        _KEYS.c.roles,
        _KEYS.c.permissions,
        _KEYS.c.cidrs,
        _KEYS.c.expires_at,
        _KEYS.c.frozen_at,
        _KEYS.c.revoked_at,
        _PARTNERS.c.frozen_at.label("partner_frozen_at"),
        _KEYS.c.revision,
        _PARTNERS.c.revision.label("partner_revision"),
        _VERSIONS.c.version,
        _VERSIONS.c.state,
        _VERSIONS.c.ciphertext,
        _VERSIONS.c.data_key_id,
        _VERSIONS.c.public_key,
    )
    .select_from(_KEYS)
    .join(_PARTNERS, _PARTNERS.c.id == _KEYS.c.partner_id)
    .join(_VERSIONS, sa.and_(_VERSIONS.c.secret_id == _KEYS.c.id, _VERIFIES), isouter=True)
    .order_by(_KEYS.c.id, _VERSIONS.c.version)
)


async def read_all(conn: AsyncConnection) -> list[Row]:
    return [Row._make(row) for row in await conn.execute(_SELECT)]


async def read_changed(conn: AsyncConnection, since: int) -> list[Row]:
    """Every key that changed after revision `since`, and every key of a partner that did."""
    own = sa.select(_KEYS.c.id).where(_KEYS.c.revision > since)
    through_partner = (
        sa.select(_KEYS.c.id)
        .join(_PARTNERS, _PARTNERS.c.id == _KEYS.c.partner_id)
        .where(_PARTNERS.c.revision > since)
    )
    changed = sa.union(own, through_partner).subquery()
    query = _SELECT.where(_KEYS.c.id.in_(sa.select(changed.c.id)))
    return [Row._make(row) for row in await conn.execute(query)]


def by_key(rows: Iterable[Row]) -> Iterator[list[Row]]:
    for _, group in groupby(rows, key=attrgetter("id")):
        yield list(group)


def _find_none(key_id: str, version: int) -> HmacKey | None:  # noqa: ARG001  a `FindServed`
    return None


def build(rows: Sequence[Row], find_data_key: FindDataKey, find_served: FindServed = _find_none) -> Built:
    """One served key from all its rows."""
    try:
        return _build(rows, find_data_key, find_served)
    # Of another shape than it should have: such as a list among the roles, which is shared with nobody.
    except (ValueError, TypeError) as cause:
        raise CorruptKey(rows[0].id) from cause


def _build(rows: Sequence[Row], find_data_key: FindDataKey, find_served: FindServed) -> Built:
    versions: list[ServedVersion] = []
    unopened: list[Unopened] = []
    for row in rows[-_MOST_VERSIONS:]:
        if row.version is None:
            continue
        found = _build_version(row, row.version, find_data_key, find_served)
        if isinstance(found, ServedVersion):
            versions.append(found)
        else:
            unopened.append(found)
    return Built(_build_key(rows[0], tuple(versions)), tuple(unopened))


Value = TypeVar("Value", bound=Hashable)


@lru_cache(_MOST_SHARED)
def _find_shared(value: Hashable) -> Hashable:
    return value


def _share(value: Value) -> Value:
    """The value that was first to equal this one."""
    return cast("Value", _find_shared(value))


@lru_cache(_MOST_SHARED)
def _networks(cidrs: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ipaddress.ip_network(cidr) for cidr in cidrs)


def _build_key(row: Row, versions: tuple[ServedVersion, ...]) -> ServedKey:
    return ServedKey(
        entitlement=Entitlement(
            id=row.id,
            partner=_share(row.partner),
            tier=_share(row.tier),
            environment=_share(row.environment),
            roles=_share(tuple(row.roles)),
            permissions=None if row.permissions is None else _share(tuple(row.permissions)),
            networks=_networks(tuple(row.cidrs)),
        ),
        algorithm=_share(row.algorithm),
        expires_at=row.expires_at,
        frozen=row.frozen_at is not None,
        revoked=row.revoked_at is not None,
        partner_frozen=row.partner_frozen_at is not None,
        versions=versions,
        revision=max(row.key_revision, row.partner_revision),
    )


def _build_version(
    row: Row, version: int, find_data_key: FindDataKey, find_served: FindServed
) -> ServedVersion | Unopened:
    if row.public_key is not None:
        public_key = Ed25519PublicKey.from_public_bytes(row.public_key)
        return ServedVersion(version, _share(row.state), _share(row.algorithm), public_key=public_key)
    if row.ciphertext is None or row.data_key_id is None:
        return Unopened(row.id, version, None)
    data_key = find_data_key(row.data_key_id)
    if data_key is None:
        served = find_served(row.id, version)
        if served is None:
            return Unopened(row.id, version, row.data_key_id)
        # Sealed again under a data key that is not open yet: what was open once needs no opening.
        return ServedVersion(version, _share(row.state), _share(row.algorithm), secret=served)
    try:
        secret = api_keys.open_secret(
            data_key, row.ciphertext, key_id=row.id, version=version, environment=row.environment
        )
    except envelope.EnvelopeRefused:
        return Unopened(row.id, version, None)
    return ServedVersion(version, _share(row.state), _share(row.algorithm), secret=HmacKey(secret))
