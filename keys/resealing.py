"""Resealing: moves what is sealed under retiring data keys to the current one, and destroys what is left over.

Invariant: a batch is one transaction, and each new ciphertext has been opened again before it is stored: whenever
this ends, every secret opens, and running it again goes on from there. The secret itself does not change, so no
node misses it. A data key is destroyed only when nothing is sealed under it, and when it has been retiring for
longer than anything sealed before can still be on its way to the store.
Refuses: a kind of secret whose binding it does not know. A ciphertext that does not open is left as it is and
named, and its data key stays.
"""

import hmac
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keys import bindings, data_key_rows, envelope
from keys.bindings import Sealed
from keys.changes import Author, Change, Changes
from keys.data_key_rows import StoredDataKey
from keys.data_keys import DataKeys, OpenDataKey
from keys.register import Domain
from keys.secret import SecretBytes
from storage import engine, schema

GRACE_MS: Final = 60_000
_BATCH: Final = 200
_KEYS: Final = schema.data_keys
_SECRETS: Final = schema.secrets
_VERSIONS: Final = schema.secret_versions
_DOMAINS: Final[tuple[Domain, ...]] = ("paper", "live", "service")
_COLUMNS: Final = (
    _SECRETS.c.kind,
    _SECRETS.c.environment,
    _SECRETS.c.label,
    _VERSIONS.c.secret_id,
    _VERSIONS.c.version,
    _VERSIONS.c.public_id,
    _VERSIONS.c.data_key_id,
    _VERSIONS.c.ciphertext,
)
_PLACE: Final = sa.tuple_(_VERSIONS.c.secret_id, _VERSIONS.c.version)


class Broken(NamedTuple):
    secret_id: str
    version: int
    data_key_id: str


class Resealed(msgspec.Struct, frozen=True):
    """`waiting`: data keys with nothing under them that have not been retiring for long enough."""

    secrets: int
    broken: tuple[Broken, ...]
    destroyed: tuple[str, ...]
    waiting: tuple[str, ...]


class _Sealing(NamedTuple):
    """What a batch is opened by and sealed under."""

    current: OpenDataKey
    olds: Mapping[str, SecretBytes]


class Resealing:
    def __init__(
        self,
        engine_: AsyncEngine,
        data_keys: DataKeys,
        changes: Changes,
        entropy: Callable[[int], bytes],
        *,
        batch: int = _BATCH,
    ) -> None:
        self._engine = engine_
        self._data_keys = data_keys
        self._changes = changes
        self._entropy = entropy
        self._batch = batch

    async def run(self, *, author: Author) -> Resealed:
        count, broken = 0, list[Broken]()
        for domain in _DOMAINS:
            count += await self._reseal(domain, broken, author)
        destroyed, waiting = await self._destroy_empty(author)
        return Resealed(count, tuple(broken), destroyed, waiting)

    async def _reseal(self, domain: Domain, broken: list[Broken], author: Author) -> int:
        count, after = 0, ("", 0)
        while True:
            async with engine.reading(self._engine) as conn:
                rows = await _read(conn, domain, after, self._batch)
            if not rows:
                return count
            sealing = _Sealing(
                await self._data_keys.get_current(domain),
                {each: await self._data_keys.get(each) for each in {row.data_key_id for row in rows}},
            )
            moved = await self._reseal_batch(domain, rows, sealing, broken, author)
            if moved is not None:
                count += moved
                after = (rows[-1].secret_id, rows[-1].version)

    async def _reseal_batch(
        self, domain: Domain, rows: list[Sealed], sealing: _Sealing, broken: list[Broken], author: Author
    ) -> int | None:
        """None when the data key was rotated meanwhile: then the same rows are to be sealed under a newer one."""
        changed = [each for row in rows if (each := self._seal_again(row, sealing, broken)) is not None]
        if not changed:
            return 0
        async with self._changes.begin(author) as change:
            active = await data_key_rows.find_active(change.conn, domain)
            if active is None or active.id != sealing.current.id:
                change.abandon()
                return None
            moved = await _store(change, changed)
            if moved:
                olds = sorted(sealing.olds)
                await change.record(
                    "data_key.resealed",
                    sealing.current.id,
                    environment=domain,
                    details={"secrets": len(moved), "from": list(olds)},
                )
            else:
                change.abandon()
        return len(moved)

    def _seal_again(self, row: Sealed, sealing: _Sealing, broken: list[Broken]) -> dict[str, object] | None:
        opened = _open(row, sealing.olds[row.data_key_id])
        if opened is None:
            found = Broken(row.secret_id, row.version, row.data_key_id)
            # Rows are sealed a second time where a rotation came in between.
            if found not in broken:
                broken.append(found)
            return None
        secret, bound = opened
        nonce = self._entropy(envelope.NONCE_SIZE)
        sealed = envelope.seal(sealing.current.key, secret, nonce=nonce, **bound)
        if not hmac.compare_digest(envelope.open_(sealing.current.key, sealed, **bound), secret):
            raise envelope.EnvelopeRefused(bound["kind"], bound["record_id"], bound["version"])
        return {
            "of_secret": row.secret_id,
            "of_version": row.version,
            "of_data_key": row.data_key_id,
            "of_ciphertext": row.ciphertext,
            "sealed": sealed,
            "current": sealing.current.id,
        }

    async def _destroy_empty(self, author: Author) -> tuple[tuple[str, ...], tuple[str, ...]]:
        async with engine.reading(self._engine) as conn:
            retiring = [each for each in await data_key_rows.list_all(conn) if each.state == "retiring"]
            sealed = await data_key_rows.count_sealed(conn)
        destroyed, waiting = list[str](), list[str]()
        for stored in retiring:
            if stored.id not in sealed:
                done = await self._destroy(stored, author)
                (destroyed if done else waiting).append(stored.id)
        return tuple(destroyed), tuple(waiting)

    async def _destroy(self, stored: StoredDataKey, author: Author) -> bool:
        async with self._changes.begin(author) as change:
            sealed = await data_key_rows.count_sealed(change.conn)
            if stored.id in sealed or change.at - (stored.retiring_at or change.at) < GRACE_MS:
                change.abandon()
                return False
            await data_key_rows.destroy(change, stored.id)
            await change.record(
                "data_key.destroyed",
                stored.id,
                environment=stored.environment,
                details={"epoch": stored.epoch},
            )
        return True


def _open(row: Sealed, data_key: SecretBytes) -> tuple[bytes, dict[str, Any]] | None:
    """The secret, and what it is bound to; None where it opens under nothing that it could be bound to."""
    for binding in bindings.bind(row):
        bound = {**binding._asdict(), "environment": row.environment}
        try:
            return envelope.open_(data_key, row.ciphertext, **bound), bound
        except envelope.EnvelopeRefused:
            continue
    return None


async def _read(conn: AsyncConnection, domain: str, after: tuple[str, int], limit: int) -> list[Sealed]:
    query = (
        sa.select(*_COLUMNS)
        .join(_SECRETS, _SECRETS.c.id == _VERSIONS.c.secret_id)
        .join(_KEYS, _KEYS.c.id == _VERSIONS.c.data_key_id)
        .where(
            _KEYS.c.environment == domain,
            _KEYS.c.state == "retiring",
            sa.tuple_(*(sa.literal(part) for part in after)) < _PLACE,
        )
        # The order in which usage is written, so that the two never wait for each other.
        .order_by(_VERSIONS.c.secret_id, _VERSIONS.c.version)
        .limit(limit)
    )
    return [Sealed(*row) for row in await conn.execute(query)]


# Whoever changed or destroyed the version since it was read was faster, and is right.
_UPDATE: Final = (
    sa.update(_VERSIONS)
    .where(
        _VERSIONS.c.secret_id == sa.bindparam("of_secret"),
        _VERSIONS.c.version == sa.bindparam("of_version"),
        _VERSIONS.c.data_key_id == sa.bindparam("of_data_key"),
        _VERSIONS.c.ciphertext == sa.bindparam("of_ciphertext"),
    )
    .values(ciphertext=sa.bindparam("sealed"), data_key_id=sa.bindparam("current"))
)


async def _store(change: Change, changed: list[dict[str, object]]) -> list[object]:
    """The ids of the secrets that were changed. Nodes read them again, so that none waits for the old data key."""
    moved = [each["of_secret"] for each in changed if (await change.conn.execute(_UPDATE, each)).rowcount]
    for table in (_SECRETS, schema.api_keys, schema.oauth_clients):
        await change.conn.execute(
            sa.update(table).where(table.c.id.in_(moved)).values(revision=change.revision)
        )
    return moved
