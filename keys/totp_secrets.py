"""The secrets of one-time passwords: 20 random bytes that somebody's device holds, and we hold sealed.

Invariant: a secret opens only for the account's secret and version that it was sealed for, and is shown once, by the
call that made it. A version is pending until its holder has shown that their device makes its codes; only then does it
take the place of the one before. What has been replaced or removed loses its material in the same transaction: nobody
else holds it that would have to follow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from keys import envelope, register, rotation, sealed_material, versions
from keys.changes import Change
from keys.data_keys import DataKeys, OpenDataKey
from keys.records import SecretVersion, VersionState
from keys.rotation import Versions
from keys.secret import SecretBytes
from keys.versions import Material
from storage import engine

# As long as the hash that codes are made with (RFC 4226, 4).
ENTROPY: Final = 20
# Accounts belong to neither environment.
DOMAIN: Final[register.Domain] = "service"
_KIND: Final = "totp-secret"


class TotpDraft(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A secret before it is anybody's, with what it will be sealed under."""

    secret: SecretBytes
    data_key: OpenDataKey
    nonce: bytes

    def seal(self, secret_id: str, version: int) -> Material:
        ciphertext = envelope.seal(
            self.data_key.key,
            self.secret.reveal(),
            kind=_KIND,
            record_id=secret_id,
            version=version,
            environment=DOMAIN,
            nonce=self.nonce,
        )
        return Material(ciphertext=ciphertext, data_key_id=self.data_key.id)


class OpenTotp(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    version: int
    secret: SecretBytes


class TotpSecrets:
    def __init__(self, engine_: AsyncEngine, data_keys: DataKeys, entropy: Callable[[int], bytes]) -> None:
        self._engine = engine_
        self._data_keys = data_keys
        self._entropy = entropy

    async def draft(self) -> TotpDraft:
        """Outside any transaction, since it may ask the KMS."""
        return TotpDraft(
            data_key=await self._data_keys.get_current(DOMAIN),
            secret=SecretBytes(self._entropy(ENTROPY)),
            nonce=self._entropy(envelope.NONCE_SIZE),
        )

    async def find(self, secret_id: str, state: VersionState) -> OpenTotp | None:
        """The version that is in this state, opened."""
        async with engine.reading(self._engine) as conn:
            held = (await sealed_material.read(conn, (secret_id,), (state,)))[secret_id]
        if not held or held[-1].sealed is None:
            return None
        number, sealed = held[-1].version.version, held[-1].sealed
        data_key = await self._data_keys.get(sealed.data_key_id)
        opened = envelope.open_(
            data_key,
            sealed.ciphertext,
            kind=_KIND,
            record_id=secret_id,
            version=number,
            environment=DOMAIN,
        )
        return OpenTotp(version=number, secret=SecretBytes(opened))


async def offer(  # noqa: PLR0913  whose it is and what it is called, each by its name
    change: Change, secret_id: str | None, draft: TotpDraft, *, named: str, label: str, partner: str | None
) -> str:
    """A pending version; of a new secret called `named` where there is none. What was pending before is gone."""
    if secret_id is None:
        await register.enter(change, named, kind="totp", environment=DOMAIN, partner=partner, label=label)
        secret_id = named
    await versions.lock(change.conn, secret_id)
    before = await versions.read(change.conn, secret_id)
    after = before
    waiting = rotation.find_pending(before)
    if waiting is not None:
        after = _forget_revoked(rotation.revoke(after, waiting.version, change.at), change.at)
    number = rotation.next_number(after)
    after = rotation.announce(after, SecretVersion(version=number, state="pending", created_at=change.at))
    await versions.follow(change, secret_id, before, after, draft.seal(secret_id, number))
    return secret_id


async def activate(change: Change, secret_id: str, version: int) -> None:
    """The pending version is the one from now on. Raises `StepRefused` where it no longer is the pending one."""
    await versions.lock(change.conn, secret_id)
    before = await versions.read(change.conn, secret_id)
    after = rotation.activate(before, version, change.at, 0)
    await versions.follow(change, secret_id, before, _forget_revoked(after, change.at))


async def end(change: Change, secret_id: str) -> None:
    await versions.lock(change.conn, secret_id)
    before = await versions.read(change.conn, secret_id)
    after = _forget_revoked(rotation.revoke_all(before, change.at), change.at)
    await versions.follow(change, secret_id, before, after)


def _forget_revoked(after: Versions, now_ms: int) -> Versions:
    for each in after:
        if each.state == "revoked":
            after = rotation.destroy(after, each.version, now_ms)
    return after
