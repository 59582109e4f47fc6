"""Our own signing keys: a ring signs with its active key, and publishes the pending and retiring ones too.

Invariant: what is published is derived from the private half that custody sealed, never taken from the
stored public half: whoever can write to the store but not seal cannot make upstreams trust a key, a retired one
neither. A key's id is the thumbprint (RFC 7638) of its public half. A ring that cannot be refreshed keeps signing
with what it has, but for what `Withdrawals` learns without the KMS: that a key is revoked, or ends sooner.
Refuses: a key that does not open, a key whose id is not its own, and to sign without exactly one active key.
"""

import logging
from collections.abc import Callable
from typing import Final, get_args

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from keys import bindings, envelope, register, sealed_material, signing_keys, versions
from keys.changes import Author, Change, Changes, Clock
from keys.data_keys import DataKeys, OpenDataKey
from keys.records import SecretVersion, VersionState
from keys.sealed_material import Sealed, SealedVersion
from keys.secret import SecretBytes
from keys.signing_keys import Algorithm, Jwk, PrivateKey
from storage import engine

IDENTITY: Final = "identity"
LEDGER: Final = "ledger"
ACCESS: Final = "access"
# For how long whoever fetches our key sets may keep them.
JWKS_MAX_AGE_S: Final = 300

_LOG: Final = logging.getLogger("portreeve.keys")
_CUSTODY: Final = "service"
# In the JWKS from when it is announced until what it signed has expired.
_PUBLISHED: Final = ("pending", "active", "retiring")


class RingUnusable(Exception):
    pass


class RingKey(msgspec.Struct, frozen=True, eq=False):
    """The private key object prints as its address."""

    kid: str
    state: VersionState
    private_key: PrivateKey
    jwk: Jwk
    not_after: int | None


class PastKey(msgspec.Struct, frozen=True):
    """`jwk` is None of a destroyed key: only its name is left, and no seal vouches for that. `ended_at`: revoked."""

    kid: str
    jwk: Jwk | None
    ended_at: int | None


class Ring:
    def __init__(  # noqa: PLR0913  where its keys lie, who seals them, its sources of time and chance, and which it is
        self,
        engine_: AsyncEngine,
        data_keys: DataKeys,
        changes: Changes,
        clock: Clock,
        entropy: Callable[[int], bytes],
        *,
        name: str = IDENTITY,
        algorithm: Algorithm = "EdDSA",
    ) -> None:
        self.name = name
        self.algorithm: Algorithm = algorithm
        self.secret_id = f"ring_{name}"
        self.engine = engine_
        self._data_keys = data_keys
        self._changes = changes
        self._clock = clock
        self._entropy = entropy
        self._opened: dict[tuple[str, Sealed], PrivateKey] = {}
        self._keys: tuple[RingKey, ...] = ()
        self._signer: RingKey | None = None
        self._derived: dict[bytes, tuple[SecretBytes, ...]] = {}
        # How often keys went while others may have been opened.
        self._withdrawn = 0
        self.withdrawals: Final = Withdrawals(self)

    def get_signer(self) -> RingKey:
        signer = self._signer
        if signer is None:
            raise RingUnusable(
                f"the {self.name} ring has no current key; `portreeve init` makes the first one"
            )
        return signer

    @property
    def keys(self) -> tuple[RingKey, ...]:
        """Those that are published, whatever the hour: the same tuple until the ring is read anew."""
        return self._keys

    def jwks(self) -> list[Jwk]:
        now_ms = self._clock()
        return [key.jwk for key in self._keys if key.not_after is None or now_ms < key.not_after]

    def derive(self, label: bytes) -> tuple[SecretBytes, ...]:
        """Secrets that every node has alike, without keeping one of their own: that of the current key first, then
        those of keys before and after it. The same tuple until the ring is read anew.
        """
        found = self._derived.get(label)
        if found is None:
            signer = self.get_signer()
            keys = (signer, *(key for key in self._keys if key is not signer))
            found = tuple(SecretBytes(signing_keys.derive(key.private_key, label)) for key in keys)
            self._derived[label] = found
        return found

    async def ensure(self, *, author: Author) -> str:
        """The id of the active key; the first one is made here."""
        data_key = await self.current_data_key()
        async with self._changes.begin(author) as change:
            if await versions.read(change.conn, self.secret_id):
                change.abandon()
            else:
                await register.enter(
                    change, self.secret_id, kind="ring", environment=_CUSTODY, label=self.name
                )
                first = await self.insert_key(change, data_key, 1, state="active", activated_at=change.at)
                details = {"ring": self.name, "state": "active"}
                await change.record("ring_key.created", first.public_id or "", details=details)
        await self.refresh()
        return self.get_signer().kid

    async def refresh(self) -> None:
        while True:
            withdrawn = self._withdrawn
            async with engine.reading(self.engine) as conn:
                found = await sealed_material.read(conn, [self.secret_id], _PUBLISHED)
            # Replaced together, and only when all of them have opened.
            opened: dict[tuple[str, Sealed], PrivateKey] = {}
            keys = tuple([await self._open(each, opened) for each in found[self.secret_id]])
            self._opened = opened
            # What went while they were opened must not come back with them.
            if withdrawn == self._withdrawn:
                break
        self._keys, self._derived = keys, {}
        # Asked for with every request, so found here.
        self._signer = next((key for key in keys if key.state == "active"), None)

    async def withdraw(self) -> None:
        """Lets go of keys that are published no more. Keys that are new wait for `refresh`."""
        if not self._keys:
            return
        async with engine.reading(self.engine) as conn:
            stored = await versions.read(conn, self.secret_id)
        living = {each.public_id: each for each in stored if each.state in _PUBLISHED}
        if all(key.kid in living and living[key.kid].retires_at == key.not_after for key in self._keys):
            return
        self._withdrawn += 1
        self._keys = tuple(_as_stored(key, living[key.kid]) for key in self._keys if key.kid in living)
        # Until the next one is open, one that may still be relied on signs, and otherwise none.
        signers = (key for key in self._keys if key.state == "active" or key.kid == self._signer_id)
        self._signer = min(signers, key=lambda key: key.state != "active", default=None)

    async def history(self) -> list[PastKey]:
        """Every key that it ever had, as far as it opens. What does not is none of ours."""
        async with engine.reading(self.engine) as conn:
            found = await sealed_material.read(conn, [self.secret_id], get_args(VersionState))
        past = []
        for version, sealed in found[self.secret_id]:
            ended_at = version.revoked_at or version.destroyed_at
            if version.state == "destroyed":
                past.append(PastKey(version.public_id or "", None, ended_at))
                continue
            try:
                key = await self._open(SealedVersion(version, sealed), {})
            except (RingUnusable, envelope.EnvelopeRefused):
                _LOG.warning("a key that is stored in the %s ring does not open as one of it", self.name)
                continue
            past.append(PastKey(key.kid, key.jwk, ended_at))
        return past

    async def current_data_key(self) -> OpenDataKey:
        """Asks the KMS, if need be: before a transaction, never within one."""
        return await self._data_keys.get_current(_CUSTODY)

    async def insert_key(
        self, change: Change, data_key: OpenDataKey, number: int, **state: object
    ) -> SecretVersion:
        """A new key, sealed. Its step in the machine is the caller's to say and to record."""
        raw = signing_keys.mint(self.algorithm, self._entropy)
        kid = signing_keys.public_jwk(signing_keys.from_bytes(self.algorithm, raw))["kid"]
        ciphertext = envelope.seal(
            data_key.key,
            raw,
            kind=self._kind,
            record_id=kid,
            version=number,
            environment=_CUSTODY,
            nonce=self._entropy(envelope.NONCE_SIZE),
        )
        fields = {"version": number, "created_at": change.at, "public_id": kid, **state}
        made = msgspec.convert(fields, SecretVersion)
        sealed = versions.Material(ciphertext=ciphertext, data_key_id=data_key.id)
        await versions.insert(change, self.secret_id, made, sealed)
        return made

    async def _open(self, stored: SealedVersion, opened: dict[tuple[str, Sealed], PrivateKey]) -> RingKey:
        version, sealed = stored
        kid = version.public_id or ""
        if sealed is None:
            raise RingUnusable(f"the key stored as {kid} in the {self.name} ring was not sealed")
        private_key = self._opened.get((kid, sealed)) or await self._unseal(version, sealed)
        jwk = signing_keys.public_jwk(private_key)
        if jwk["kid"] != kid:
            raise RingUnusable(f"the key stored as {kid} in the {self.name} ring is another one")
        opened[kid, sealed] = private_key
        return RingKey(kid, version.state, private_key, jwk, version.retires_at)

    async def _unseal(self, version: SecretVersion, sealed: Sealed) -> PrivateKey:
        raw = envelope.open_(
            await self._data_keys.get(sealed.data_key_id),
            sealed.ciphertext,
            kind=self._kind,
            record_id=version.public_id or "",
            version=version.version,
            environment=_CUSTODY,
        )
        return signing_keys.from_bytes(self.algorithm, raw)

    @property
    def _signer_id(self) -> str | None:
        return None if self._signer is None else self._signer.kid

    @property
    def _kind(self) -> str:
        return bindings.ring_key_kind(self.name, self.algorithm)


class Withdrawals:
    """The companion by which a key that was revoked goes at once: it asks the store alone, never the KMS."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring

    async def refresh(self) -> None:
        await self._ring.withdraw()


def _as_stored(key: RingKey, version: SecretVersion) -> RingKey:
    return msgspec.structs.replace(key, state=version.state, not_after=version.retires_at)
