"""The rows of API keys and their secret versions. Every function works inside the transaction it is given.

Invariant: a change of a key or of any of its versions stamps the key with the change's revision, by which
every node learns of it. A revoked key stays revoked. What is read here never includes a ciphertext.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from keys import envelope, refusals, register, versions
from keys.changes import Change
from keys.held import HeldSecret
from keys.records import ApiKey, SecretVersion
from keys.secret import SecretBytes
from storage import schema

_KEYS: Final = schema.api_keys
_VERSIONS: Final = schema.secret_versions
_NOT_ITS_OWN: Final = frozenset({"partner", "versions", "revision"})
_OWN_FIELDS: Final = tuple(name for name in ApiKey.__struct_fields__ if name not in _NOT_ITS_OWN)
_KEY_COLUMNS: Final = (
    _KEYS.c.partner_id.label("partner"),
    _KEYS.c.revision,
    *(_KEYS.c[name] for name in _OWN_FIELDS),
)
_VERSION_COLUMNS: Final = (
    _VERSIONS.c.secret_id,
    *(_VERSIONS.c[name] for name in SecretVersion.__struct_fields__),
)
_KIND: Final = "api-key-secret"


class UnknownKey(refusals.NotFound):
    def __init__(self, key_id: str) -> None:
        super().__init__(f"there is no key {key_id!r:.80}")


class AlreadyRevoked(refusals.Conflict):
    def __init__(self, key_id: str) -> None:
        super().__init__(f"key {key_id} is revoked, for good")


class KeyAlreadyFrozen(refusals.Conflict):
    def __init__(self, key_id: str) -> None:
        super().__init__(f"key {key_id} is frozen")


class KeyNotFrozen(refusals.Conflict):
    def __init__(self, key_id: str) -> None:
        super().__init__(f"key {key_id} is not frozen")


class KeyMoved(refusals.Conflict):
    def __init__(self, key_id: str) -> None:
        super().__init__(f"key {key_id} has been changed in the meantime: look at it again")


def seal_secret(  # noqa: PLR0913  the fields that the envelope binds
    data_key: SecretBytes, secret: bytes, *, key_id: str, version: int, environment: str, nonce: bytes
) -> bytes:
    return envelope.seal(
        data_key,
        secret,
        kind=_KIND,
        record_id=key_id,
        version=version,
        environment=environment,
        nonce=nonce,
    )


def open_secret(
    data_key: SecretBytes, ciphertext: bytes, *, key_id: str, version: int, environment: str
) -> bytes:
    return envelope.open_(
        data_key, ciphertext, kind=_KIND, record_id=key_id, version=version, environment=environment
    )


async def get(conn: AsyncConnection, key_id: str) -> ApiKey:
    rows = (await conn.execute(sa.select(*_KEY_COLUMNS).where(_KEYS.c.id == key_id))).mappings().all()
    if not rows:
        raise UnknownKey(key_id)
    return (await _with_versions(conn, rows))[0]


async def find_revision(conn: AsyncConnection, key_id: str) -> int | None:
    query = sa.select(_KEYS.c.revision).where(_KEYS.c.id == key_id)
    found: int | None = (await conn.execute(query)).scalar_one_or_none()
    return found


async def find_partners(conn: AsyncConnection, key_ids: Sequence[str]) -> dict[str, str]:
    """Whose each of these is; one that is not there is left out."""
    query = sa.select(_KEYS.c.id, _KEYS.c.partner_id).where(_KEYS.c.id.in_(key_ids))
    return {row.id: row.partner_id for row in await conn.execute(query)}


async def list_page(
    conn: AsyncConnection, *, partner: str | None, environment: str | None, after: str | None, limit: int
) -> list[ApiKey]:
    """Oldest first; `after` is the id of the last key of the page before."""
    order = sa.tuple_(_KEYS.c.created_at, _KEYS.c.id)
    query = sa.select(*_KEY_COLUMNS).order_by(_KEYS.c.created_at, _KEYS.c.id).limit(limit)
    if partner is not None:
        query = query.where(_KEYS.c.partner_id == partner)
    if environment is not None:
        query = query.where(_KEYS.c.environment == environment)
    if after is not None:
        last = await get(conn, after)
        query = query.where(order > sa.tuple_(sa.literal(last.created_at), sa.literal(last.id)))
    return await _with_versions(conn, (await conn.execute(query)).mappings().all())


async def _with_versions(conn: AsyncConnection, rows: Sequence[sa.RowMapping]) -> list[ApiKey]:
    ids = [row["id"] for row in rows]
    query = sa.select(*_VERSION_COLUMNS).where(_VERSIONS.c.secret_id.in_(ids)).order_by(_VERSIONS.c.version)
    found: dict[str, list[SecretVersion]] = {key_id: [] for key_id in ids}
    for row in (await conn.execute(query)).mappings():
        fields = dict(row)
        found[fields.pop("secret_id")].append(SecretVersion(**fields))
    return [_from_row(row, found[row["id"]]) for row in rows]


def _from_row(row: sa.RowMapping, its_versions: Iterable[SecretVersion]) -> ApiKey:
    fields: dict[str, Any] = dict(row)
    for name in ("roles", "permissions", "cidrs"):
        fields[name] = None if fields[name] is None else tuple(fields[name])
    fields["label"] = fields["label"] or ""
    return ApiKey(**fields, versions=tuple(its_versions))


async def insert(change: Change, key: ApiKey, held: versions.Material) -> None:
    """With its first version, which holds that."""
    fields = {name: getattr(key, name) for name in _OWN_FIELDS} | {"revision": change.revision}
    lists = {
        "roles": list(key.roles),
        "permissions": None if key.permissions is None else list(key.permissions),
        "cidrs": list(key.cidrs),
    }
    await register.enter(
        change,
        key.id,
        kind="api-key",
        environment=key.environment,
        partner=key.partner,
        label=key.label,
    )
    await change.conn.execute(sa.insert(_KEYS).values(**fields | lists, partner_id=key.partner))
    await versions.write(change, await versions.get(change.conn, key.id), key.versions, held)


async def mark_revoked(change: Change, key_id: str) -> None:
    """The key's own row; its versions are the rotation's. Ciphertexts stay until they are destroyed: a right signature
    of a revoked key is told so, and only a right one.
    """
    await _get_living(change.conn, key_id)
    await _update(change, key_id, revoked_at=change.at, revoked_reason=change.author.reason)


async def alter(change: Change, before: ApiKey, after: ApiKey) -> None:
    await _update(
        change,
        before.id,
        roles=list(after.roles),
        permissions=None if after.permissions is None else list(after.permissions),
        cidrs=list(after.cidrs),
        expires_at=after.expires_at,
        label=after.label,
    )
    await register.rename(change, before.id, after.label)


async def get_living_at(conn: AsyncConnection, key_id: str, revision: int) -> ApiKey:
    """The key, if it is still as whoever wants to change it has seen it."""
    key = await _get_living(conn, key_id)
    if key.revision != revision:
        raise KeyMoved(key_id)
    return key


async def freeze(change: Change, key_id: str, *, anew: bool = False) -> None:
    """`anew`: also one that is frozen, which is then frozen by this change."""
    if (await _get_living(change.conn, key_id)).frozen_at is not None and not anew:
        raise KeyAlreadyFrozen(key_id)
    await _update(change, key_id, frozen_at=change.at, frozen_reason=change.author.reason)


async def unfreeze(change: Change, key_id: str) -> None:
    if (await _get_living(change.conn, key_id)).frozen_at is None:
        raise KeyNotFrozen(key_id)
    await _update(change, key_id, frozen_at=None, frozen_reason=None)


async def get_held(change: Change, key_id: str) -> HeldSecret:
    """The key as a secret with versions, locked."""
    await _get_living(change.conn, key_id)
    return await versions.get_locked(change, key_id)


async def _get_living(conn: AsyncConnection, key_id: str) -> ApiKey:
    key = await get(conn, key_id)
    if key.revoked_at is not None:
        raise AlreadyRevoked(key_id)
    return key


async def _update(change: Change, key_id: str, **values: object) -> None:
    await change.conn.execute(
        sa.update(_KEYS).where(_KEYS.c.id == key_id).values(revision=change.revision, **values)
    )
    await register.stamp(change, key_id)
