"""The rows of OAuth clients. Every function works inside the transaction it is given.

Invariant: a change of a client or of any of its versions stamps it with the change's revision, by which every node
learns of it. A revoked client stays revoked. What is read here never includes a ciphertext.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from keys import refusals, register, versions
from keys.changes import Change
from keys.client_records import About, Certificate, OAuthClient
from keys.held import HeldSecret
from keys.records import SecretVersion
from storage import schema

_CLIENTS: Final = schema.oauth_clients
_VERSIONS: Final = schema.secret_versions
_OWN_FIELDS: Final = tuple(
    name for name in OAuthClient.__struct_fields__ if name not in {"partner", "versions", "revision"}
)
_COLUMNS: Final = (
    _CLIENTS.c.partner_id.label("partner"),
    _CLIENTS.c.revision,
    *(_CLIENTS.c[name] for name in _OWN_FIELDS),
)
_VERSION_COLUMNS: Final = (
    _VERSIONS.c.secret_id,
    *(_VERSIONS.c[name] for name in SecretVersion.__struct_fields__),
)
_LISTS: Final = ("grants", "roles", "permissions", "redirect_uris", "cidrs", "exceptions")
# What a change can make of a client.
_ALTERABLE: Final = (
    "name",
    "binding",
    *_LISTS,
    "keys_url",
    "certificate",
    "about",
    "expires_at",
)


class UnknownClient(refusals.NotFound):
    def __init__(self, client_id: str) -> None:
        super().__init__(f"there is no client {client_id!r:.80}")


class ClientAlreadyRevoked(refusals.Conflict):
    def __init__(self, client_id: str) -> None:
        super().__init__(f"client {client_id} is revoked, for good")


class ClientAlreadyFrozen(refusals.Conflict):
    def __init__(self, client_id: str) -> None:
        super().__init__(f"client {client_id} is frozen")


class ClientNotFrozen(refusals.Conflict):
    def __init__(self, client_id: str) -> None:
        super().__init__(f"client {client_id} is not frozen")


class ClientMoved(refusals.Conflict):
    def __init__(self, client_id: str) -> None:
        super().__init__(f"client {client_id} has been changed in the meantime: look at it again")


async def get(conn: AsyncConnection, client_id: str) -> OAuthClient:
    rows = (await conn.execute(sa.select(*_COLUMNS).where(_CLIENTS.c.id == client_id))).mappings().all()
    if not rows:
        raise UnknownClient(client_id)
    return (await _with_versions(conn, rows))[0]


async def find_revision(conn: AsyncConnection, client_id: str) -> int | None:
    query = sa.select(_CLIENTS.c.revision).where(_CLIENTS.c.id == client_id)
    found: int | None = (await conn.execute(query)).scalar_one_or_none()
    return found


async def find_partners(conn: AsyncConnection, client_ids: Sequence[str]) -> dict[str, str]:
    """Whose each of these is; one that is not there is left out."""
    query = sa.select(_CLIENTS.c.id, _CLIENTS.c.partner_id).where(_CLIENTS.c.id.in_(client_ids))
    return {row.id: row.partner_id for row in await conn.execute(query)}


async def list_page(
    conn: AsyncConnection, *, partner: str | None, environment: str | None, after: str | None, limit: int
) -> list[OAuthClient]:
    """Oldest first; `after` is the id of the last client of the page before."""
    order = sa.tuple_(_CLIENTS.c.created_at, _CLIENTS.c.id)
    query = sa.select(*_COLUMNS).order_by(_CLIENTS.c.created_at, _CLIENTS.c.id).limit(limit)
    if partner is not None:
        query = query.where(_CLIENTS.c.partner_id == partner)
    if environment is not None:
        query = query.where(_CLIENTS.c.environment == environment)
    if after is not None:
        last = await get(conn, after)
        query = query.where(order > sa.tuple_(sa.literal(last.created_at), sa.literal(last.id)))
    return await _with_versions(conn, (await conn.execute(query)).mappings().all())


async def insert(
    change: Change,
    client: OAuthClient,
    held: versions.Material | None,
    registration_digest: str | None = None,
) -> None:
    """With its first version, which holds that, where it has one."""
    await register.enter(
        change,
        client.id,
        kind="oauth-client",
        environment=client.environment,
        partner=client.partner,
        label=client.name,
    )
    own = {name: getattr(client, name) for name in _OWN_FIELDS}
    row = own | _plain(client) | {"partner_id": client.partner, "revision": change.revision}
    await change.conn.execute(sa.insert(_CLIENTS).values(**row, registration_digest=registration_digest))
    if held is not None:
        await versions.write(change, await versions.get(change.conn, client.id), client.versions, held)


async def alter(change: Change, after: OAuthClient) -> None:
    own = {name: getattr(after, name) for name in _ALTERABLE}
    await _update(change, after.id, **own | _plain(after))
    await register.rename(change, after.id, after.name)


async def get_living_at(conn: AsyncConnection, client_id: str, revision: int) -> OAuthClient:
    """The client, if it is still as whoever wants to change it has seen it."""
    client = await _get_living(conn, client_id)
    if client.revision != revision:
        raise ClientMoved(client_id)
    return client


async def get_held(change: Change, client_id: str) -> HeldSecret:
    """The client as a secret with versions, locked."""
    await _get_living(change.conn, client_id)
    return await versions.get_locked(change, client_id)


async def mark_revoked(change: Change, client_id: str) -> None:
    await _get_living(change.conn, client_id)
    await _update(change, client_id, revoked_at=change.at, revoked_reason=change.author.reason)


async def freeze(change: Change, client_id: str, *, anew: bool = False) -> None:
    """`anew`: also one that is frozen, which is then frozen by this change."""
    if (await _get_living(change.conn, client_id)).frozen_at is not None and not anew:
        raise ClientAlreadyFrozen(client_id)
    await _update(change, client_id, frozen_at=change.at, frozen_reason=change.author.reason)


async def unfreeze(change: Change, client_id: str) -> None:
    if (await _get_living(change.conn, client_id)).frozen_at is None:
        raise ClientNotFrozen(client_id)
    await _update(change, client_id, frozen_at=None, frozen_reason=None)


async def _get_living(conn: AsyncConnection, client_id: str) -> OAuthClient:
    client = await get(conn, client_id)
    if client.revoked_at is not None:
        raise ClientAlreadyRevoked(client_id)
    return client


async def _update(change: Change, client_id: str, **values: object) -> None:
    await change.conn.execute(
        sa.update(_CLIENTS).where(_CLIENTS.c.id == client_id).values(revision=change.revision, **values)
    )
    await register.stamp(change, client_id)


async def _with_versions(conn: AsyncConnection, rows: Sequence[sa.RowMapping]) -> list[OAuthClient]:
    ids = [row["id"] for row in rows]
    query = sa.select(*_VERSION_COLUMNS).where(_VERSIONS.c.secret_id.in_(ids)).order_by(_VERSIONS.c.version)
    found: dict[str, list[SecretVersion]] = {client_id: [] for client_id in ids}
    for row in (await conn.execute(query)).mappings():
        fields = dict(row)
        found[fields.pop("secret_id")].append(SecretVersion(**fields))
    return [_from_row(row, found[row["id"]]) for row in rows]


def _from_row(row: sa.RowMapping, its_versions: Iterable[SecretVersion]) -> OAuthClient:
    fields: dict[str, Any] = dict(row)
    for name in _LISTS:
        fields[name] = None if fields[name] is None else tuple(fields[name])
    certificate = fields["certificate"]
    fields["certificate"] = None if certificate is None else msgspec.convert(certificate, Certificate)
    fields["about"] = msgspec.convert(fields["about"], About)
    return OAuthClient(**fields, versions=tuple(its_versions))


def _plain(client: OAuthClient) -> dict[str, object]:
    """What is kept as JSON, as JSON."""
    return {name: msgspec.to_builtins(getattr(client, name)) for name in (*_LISTS, "certificate", "about")}
