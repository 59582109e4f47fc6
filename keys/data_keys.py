"""Data keys: one per environment and epoch, wrapped by the KMS, opened once and then held in memory.

Invariant: no transaction is open while the KMS is asked, so a slow KMS never holds a lock of the store.
What has been opened stays open: a KMS that goes away takes nothing from a running node, which only cannot
make or learn new keys. Refuses: a data key that the KMS refuses or that is not stored.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keys import kms, refusals
from keys.changes import SYSTEM, Change, Changes
from keys.register import Domain
from keys.secret import SecretBytes
from storage import engine, schema

_ID_ENTROPY: Final = 12
_FIRST_EPOCH: Final = 1


class UnknownDataKey(refusals.NotFound):
    def __init__(self, data_key_id: str) -> None:
        super().__init__(f"no data key {data_key_id!r} is stored")


class OpenDataKey(NamedTuple):
    id: str
    key: SecretBytes


class _Stored(NamedTuple):
    id: str
    environment: str
    epoch: int
    wrapped: bytes
    kms_backend: str
    kms_key: str


_KEYS: Final = schema.data_keys
_WRAPPINGS: Final = schema.data_key_wrappings
_SELECT: Final = sa.select(
    _KEYS.c.id,
    _KEYS.c.environment,
    _KEYS.c.epoch,
    _WRAPPINGS.c.wrapped,
    _WRAPPINGS.c.kms_backend,
    _WRAPPINGS.c.kms_key,
).join(_WRAPPINGS, _WRAPPINGS.c.data_key_id == _KEYS.c.id)


class DataKeys:
    def __init__(
        self,
        engine_: AsyncEngine,
        backend: kms.KmsBackend,
        changes: Changes,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._engine = engine_
        self._kms = backend
        self._changes = changes
        self._entropy = entropy
        self._open: dict[str, SecretBytes] = {}
        # One unwrapping at a time: many waiters for one key ask the KMS once.
        self._unwrapping = asyncio.Lock()

    async def get_current(self, domain: Domain) -> OpenDataKey:
        """The data key that new secrets are sealed under; the first one is made here."""
        async with engine.reading(self._engine) as conn:
            stored = await _find_active(conn, domain)
        if stored is None:
            stored = await self._create(domain)
        return OpenDataKey(stored.id, await self._unwrap(stored))

    def find_open(self, data_key_id: str) -> SecretBytes | None:
        return self._open.get(data_key_id)

    async def get(self, data_key_id: str) -> SecretBytes:
        found = self._open.get(data_key_id)
        if found is not None:
            return found
        async with engine.reading(self._engine) as conn:
            stored = await _find(conn, _KEYS.c.id == data_key_id)
        if stored is None:
            raise UnknownDataKey(data_key_id)
        return await self._unwrap(stored)

    async def _unwrap(self, stored: _Stored) -> SecretBytes:
        async with self._unwrapping:
            if stored.id not in self._open:
                self._open[stored.id] = await self._ask_kms(stored)
            return self._open[stored.id]

    async def _ask_kms(self, stored: _Stored) -> SecretBytes:
        try:
            return await self._kms.unwrap(
                stored.wrapped, _context(stored.id, stored.environment, stored.epoch)
            )
        except kms.KmsRefused as cause:
            raise kms.KmsRefused(
                f"data key {stored.id} of {stored.environment} was wrapped by {stored.kms_backend} key "
                f"{stored.kms_key}, and {self._kms.name} key {self._kms.key_id} does not open it"
            ) from cause

    async def _create(self, domain: Domain) -> _Stored:
        data_key_id = f"dk_{domain}_{self._entropy(_ID_ENTROPY).hex()}"
        made = await self._kms.generate_data_key(_context(data_key_id, domain, _FIRST_EPOCH))
        stored = _Stored(data_key_id, domain, _FIRST_EPOCH, made.wrapped, self._kms.name, self._kms.key_id)
        return await self._store(stored)

    async def _store(self, stored: _Stored) -> _Stored:
        async with self._changes.begin(SYSTEM) as change:
            # Asked again under the lock: another node may have been first.
            winner = await _find_active(change.conn, stored.environment)
            if winner is not None:
                change.abandon()
                return winner
            await _insert(change, stored)
            await change.record(
                "data_key.created",
                stored.id,
                environment=stored.environment,
                details={"epoch": stored.epoch, "kms_backend": stored.kms_backend, "kms_key": stored.kms_key},
            )
        return stored


async def _find_active(conn: AsyncConnection, domain: str) -> _Stored | None:
    return await _find(conn, sa.and_(_KEYS.c.environment == domain, _KEYS.c.state == "active"))


async def _find(conn: AsyncConnection, where: sa.ColumnElement[bool]) -> _Stored | None:
    row = (await conn.execute(_SELECT.where(where).limit(1))).first()
    return None if row is None else _Stored(*row)


async def _insert(change: Change, stored: _Stored) -> None:
    await change.conn.execute(
        sa.insert(_KEYS).values(
            id=stored.id,
            environment=stored.environment,
            epoch=stored.epoch,
            state="active",
            created_at=change.at,
        )
    )
    await change.conn.execute(
        sa.insert(_WRAPPINGS).values(
            data_key_id=stored.id,
            kms_backend=stored.kms_backend,
            kms_key=stored.kms_key,
            wrapped=stored.wrapped,
            created_at=change.at,
        )
    )


def _context(data_key_id: str, environment: str, epoch: int) -> dict[str, str]:
    return {
        "purpose": "portreeve/data-key/1",
        "id": data_key_id,
        "environment": environment,
        "epoch": str(epoch),
    }
