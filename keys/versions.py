"""The rows of secrets and their versions, whatever their kind. Every function works inside the transaction it is given.

Invariant: what is written is the difference that a step of `rotation` made to what was read under the lock; rows are
locked in the order in which usage is written, and their usage is never written here. A change stamps the secret, and
the kind's own row where nodes follow that one, so every node learns of it. What is destroyed loses its ciphertext in
the same transaction; a public key stays, so that it is known if it comes again.
Refuses: material sealed under a data key that has been destroyed since.
"""

from collections.abc import Iterable, Sequence
from types import MappingProxyType
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from keys import data_key_rows, refusals, register
from keys.changes import Change
from keys.held import HeldSecret
from keys.records import SecretVersion
from keys.rotation import Versions
from storage import schema

_SECRETS: Final = schema.secrets
_VERSIONS: Final = schema.secret_versions
_KEYS: Final = schema.api_keys
_CLIENTS: Final = schema.oauth_clients
_FIELDS: Final = SecretVersion.__struct_fields__
_COLUMNS: Final = tuple(_VERSIONS.c[name] for name in _FIELDS)
# Usage is written by itself alone, which takes no revision's lock; what a version is stays what it was.
_KEPT: Final = frozenset({"version", "public_key", "last_used_at", "last_used_source", "use_count"})
_SECRET_COLUMNS: Final = (
    _SECRETS.c.id,
    _SECRETS.c.kind,
    _SECRETS.c.environment,
    _SECRETS.c.partner_id.label("partner"),
    _SECRETS.c.label,
    _SECRETS.c.created_at,
    _SECRETS.c.revision,
    _SECRETS.c.warned_at,
    # A secret is of one kind: one of the two is null.
    sa.func.coalesce(_KEYS.c.expires_at, _CLIENTS.c.expires_at).label("expires_at"),
)
_SELECT: Final = (
    sa.select(*_SECRET_COLUMNS)
    .select_from(_SECRETS)
    .join(_KEYS, _KEYS.c.id == _SECRETS.c.id, isouter=True)
    .join(_CLIENTS, _CLIENTS.c.id == _SECRETS.c.id, isouter=True)
    .order_by(_SECRETS.c.created_at, _SECRETS.c.id)
)
# Nodes that follow one kind look at that kind's own rows.
_FOLLOWED: Final = MappingProxyType(
    {"api-key": schema.api_keys, "oauth-client": schema.oauth_clients, "webhook": schema.webhooks}
)
# An IN of more would meet the databases' limits.
_BATCH: Final = 500


class UnknownSecret(refusals.NotFound):
    def __init__(self, secret_id: str) -> None:
        # A plan names them; they are sealed by a KMS and have commands of their own.
        elsewhere = (
            ": data keys are shown and changed by `portreeve kms`" if secret_id.startswith("dk_") else ""
        )
        super().__init__(f"there is no secret {secret_id!r:.80}{elsewhere}")


class Material(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What a new version holds: a ciphertext and what it is sealed under, or a public key. Prints nothing of either."""

    ciphertext: bytes | None = None
    data_key_id: str | None = None
    public_key: bytes | None = None
    public_id: str | None = None

    def __repr__(self) -> str:
        return "Material(***)"


async def get(conn: AsyncConnection, secret_id: str) -> HeldSecret:
    rows = (await conn.execute(_SELECT.where(_SECRETS.c.id == secret_id))).mappings().all()
    if not rows:
        raise UnknownSecret(secret_id)
    return (await _with_versions(conn, rows))[0]


async def read(conn: AsyncConnection, secret_id: str) -> Versions:
    """Oldest first; none where there is no such secret."""
    query = sa.select(*_COLUMNS).where(_VERSIONS.c.secret_id == secret_id).order_by(_VERSIONS.c.version)
    return tuple(SecretVersion(**row) for row in (await conn.execute(query)).mappings())


async def get_locked(change: Change, secret_id: str) -> HeldSecret:
    """As it stands, and as it will stand until the change ends."""
    await lock(change.conn, secret_id)
    return await get(change.conn, secret_id)


async def lock(conn: AsyncConnection, secret_id: str) -> None:
    """Takes the rows in the order in which usage is written, so that a change and a flush never deadlock."""
    await conn.execute(
        sa.select(_VERSIONS.c.version)
        .where(_VERSIONS.c.secret_id == secret_id)
        .order_by(_VERSIONS.c.version)
        .with_for_update()
    )


async def list_all(
    conn: AsyncConnection,
    *,
    kind: str | None = None,
    environment: str | None = None,
    partner: str | None = None,
    among: sa.Select[tuple[str]] | None = None,
) -> list[HeldSecret]:
    """Oldest first. `among`: selects the ids that are asked for; all of them, if absent."""
    query = _SELECT if among is None else _SELECT.where(_SECRETS.c.id.in_(among))
    for column, wanted in (("kind", kind), ("environment", environment), ("partner_id", partner)):
        if wanted is not None:
            query = query.where(_SECRETS.c[column] == wanted)
    return await _with_versions(conn, (await conn.execute(query)).mappings().all())


async def write(change: Change, secret: HeldSecret, after: Versions, added: Material | None = None) -> None:
    """What a step changed. `added`: what the last version of `after` holds, where that version is new."""
    await follow(change, secret.id, secret.versions, after, added)
    await _stamp_followed(change, secret)


async def follow(
    change: Change, secret_id: str, before: Versions, after: Versions, added: Material | None = None
) -> None:
    """The same for whoever knows a secret by its id, of a kind that nodes follow by the register."""
    was = {each.version: each for each in before}
    # Whoever leaves the active state goes first: at no moment are there two, which the index would refuse.
    for each in sorted(after, key=lambda version: version.state == "active"):
        if each.version in was:
            await _update(change, secret_id, was[each.version], each)
        else:
            await insert(change, secret_id, each, added or Material())
    await register.stamp(change, secret_id)


async def note_warning(change: Change, secret: HeldSecret) -> None:
    """No version changes by it, so what somebody was asked to approve of them still stands."""
    await change.conn.execute(
        sa.update(_SECRETS).where(_SECRETS.c.id == secret.id).values(warned_at=change.at)
    )


async def insert(change: Change, secret_id: str, version: SecretVersion, held: Material) -> None:
    if held.data_key_id is not None:
        await data_key_rows.require_living(change, held.data_key_id)
    planned = {name: getattr(version, name) for name in _FIELDS}
    stored = {
        name: getattr(held, name) for name in Material.__struct_fields__ if getattr(held, name) is not None
    }
    await change.conn.execute(sa.insert(_VERSIONS).values(secret_id=secret_id, **planned | stored))


async def _update(change: Change, secret_id: str, before: SecretVersion, after: SecretVersion) -> None:
    values: dict[str, object] = {
        name: getattr(after, name)
        for name in _FIELDS
        if name not in _KEPT and getattr(after, name) != getattr(before, name)
    }
    if values.get("state") == "destroyed":
        values |= {"ciphertext": None, "data_key_id": None}
    if values:
        one = sa.and_(_VERSIONS.c.secret_id == secret_id, _VERSIONS.c.version == after.version)
        await change.conn.execute(sa.update(_VERSIONS).where(one).values(**values))


async def _stamp_followed(change: Change, secret: HeldSecret) -> None:
    followed = _FOLLOWED.get(secret.kind)
    if followed is not None:
        await change.conn.execute(
            sa.update(followed).where(followed.c.id == secret.id).values(revision=change.revision)
        )


async def _with_versions(conn: AsyncConnection, rows: Sequence[sa.RowMapping]) -> list[HeldSecret]:
    versions: dict[str, list[SecretVersion]] = {row["id"]: [] for row in rows}
    ids = list(versions)
    for start in range(0, len(ids), _BATCH):
        for secret_id, version in await _read_versions(conn, ids[start : start + _BATCH]):
            versions[secret_id].append(version)
    return [HeldSecret(**row, versions=tuple(versions[row["id"]])) for row in rows]


async def _read_versions(conn: AsyncConnection, ids: Sequence[str]) -> Iterable[tuple[str, SecretVersion]]:
    query = (
        sa.select(_VERSIONS.c.secret_id, *_COLUMNS)
        .where(_VERSIONS.c.secret_id.in_(ids))
        .order_by(_VERSIONS.c.version)
    )
    return [
        (row["secret_id"], SecretVersion(**{name: row[name] for name in _FIELDS}))
        for row in (await conn.execute(query)).mappings()
    ]
