"""Our own signing keys: a ring signs with its current key, and publishes the next and retired ones too.

Invariant: what is published is derived from the private half that custody sealed, never taken from the
stored public half: whoever can write to the store but not seal cannot make upstreams trust a key. A key's
id is the thumbprint (RFC 7638) of its public half. A ring that cannot be refreshed keeps signing with what
it has. Refuses: a key that does not open, a key whose id is not its own, and to sign without exactly one
current key.
"""

import base64
import hashlib
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keys import envelope, register
from keys.changes import Author, Change, Changes, Clock
from keys.data_keys import DataKeys, OpenDataKey
from keys.records import VersionState
from storage import engine, schema

IDENTITY: Final = "identity"

Jwk = dict[str, str]
_CUSTODY: Final = "service"
_SEED_SIZE: Final = 32
_VERSION: Final = 1
_TABLE: Final = schema.secret_versions
# In the JWKS from when it is announced until what it signed has expired.
_PUBLISHED: Final = ("pending", "active", "retiring")


class RingUnusable(Exception):
    pass


class RingKey(msgspec.Struct, frozen=True, eq=False):
    """The private key object prints as its address."""

    kid: str
    state: VersionState
    private_key: Ed25519PrivateKey
    jwk: Jwk
    not_after: int | None


class _Stored(NamedTuple):
    public_id: str
    state: VersionState
    ciphertext: bytes | None
    data_key_id: str | None
    retires_at: int | None


class Ring:
    def __init__(  # noqa: PLR0913  where its keys lie, who seals them, and its sources of time and chance
        self,
        engine_: AsyncEngine,
        data_keys: DataKeys,
        changes: Changes,
        clock: Clock,
        entropy: Callable[[int], bytes],
        *,
        name: str = IDENTITY,
    ) -> None:
        self._engine = engine_
        self._data_keys = data_keys
        self._changes = changes
        self._clock = clock
        self._entropy = entropy
        self._name = name
        self._keys: tuple[RingKey, ...] = ()
        self._signer: RingKey | None = None

    def get_signer(self) -> RingKey:
        signer = self._signer
        if signer is None:
            raise RingUnusable(
                f"the {self._name} ring has no current key; `portreeve init` makes the first one"
            )
        return signer

    def jwks(self) -> list[Jwk]:
        now_ms = self._clock()
        return [key.jwk for key in self._keys if key.not_after is None or now_ms < key.not_after]

    async def ensure(self, *, author: Author) -> str:
        """The id of the current key; the first one is made here."""
        data_key = await self._data_keys.get_current(_CUSTODY)
        async with self._changes.begin(author) as change:
            if await _has_current(change.conn, self._name):
                change.abandon()
            else:
                await self._insert_first(change, data_key)
        await self.refresh()
        return self.get_signer().kid

    async def refresh(self) -> None:
        async with engine.reading(self._engine) as conn:
            stored = await _read(conn, self._name)
        # Replaced together, and only when all of them have opened.
        keys = tuple([await self._open(each) for each in stored])
        self._keys = keys
        # Asked for with every request, so found here.
        self._signer = next((key for key in keys if key.state == "active"), None)

    async def _insert_first(self, change: Change, data_key: OpenDataKey) -> None:
        seed = self._entropy(_SEED_SIZE)
        jwk = _public_jwk(Ed25519PrivateKey.from_private_bytes(seed))
        kid = jwk["kid"]
        ciphertext = envelope.seal(
            data_key.key,
            seed,
            kind=self._kind,
            record_id=kid,
            version=_VERSION,
            environment=_CUSTODY,
            nonce=self._entropy(envelope.NONCE_SIZE),
        )
        await register.enter(
            change, _secret_id(self._name), kind="ring", environment=_CUSTODY, label=self._name
        )
        await change.conn.execute(
            sa.insert(_TABLE).values(
                secret_id=_secret_id(self._name),
                version=1,
                state="active",
                ciphertext=ciphertext,
                data_key_id=data_key.id,
                public_id=kid,
                created_at=change.at,
                activated_at=change.at,
                use_count=0,
            )
        )
        await change.record("ring_key.created", kid, details={"ring": self._name, "state": "active"})

    async def _open(self, stored: _Stored) -> RingKey:
        if stored.ciphertext is None or stored.data_key_id is None:
            raise RingUnusable(
                f"the key stored as {stored.public_id} in the {self._name} ring was not sealed"
            )
        seed = envelope.open_(
            await self._data_keys.get(stored.data_key_id),
            stored.ciphertext,
            kind=self._kind,
            record_id=stored.public_id,
            version=_VERSION,
            environment=_CUSTODY,
        )
        private_key = Ed25519PrivateKey.from_private_bytes(seed)
        jwk = _public_jwk(private_key)
        if jwk["kid"] != stored.public_id:
            raise RingUnusable(
                f"the key stored as {stored.public_id} in the {self._name} ring is another one"
            )
        return RingKey(stored.public_id, stored.state, private_key, jwk, stored.retires_at)

    @property
    def _kind(self) -> str:
        return f"ring-key/{self._name}"


async def _read(conn: AsyncConnection, ring: str) -> list[_Stored]:
    columns = tuple(_TABLE.c[name] for name in _Stored._fields)
    query = (
        sa.select(*columns)
        .where(_TABLE.c.secret_id == _secret_id(ring), _TABLE.c.state.in_(_PUBLISHED))
        .order_by(_TABLE.c.version)
    )
    return [_Stored(*row) for row in await conn.execute(query)]


async def _has_current(conn: AsyncConnection, ring: str) -> bool:
    return any(stored.state == "active" for stored in await _read(conn, ring))


def _secret_id(ring: str) -> str:
    return f"ring_{ring}"


def _public_jwk(private_key: Ed25519PrivateKey) -> Jwk:
    x = _base64url(private_key.public_key().public_bytes_raw())
    # The thumbprint is taken over exactly these members, in this order and without any space.
    thumbprint = hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest()
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": x,
        "kid": _base64url(thumbprint),
        "use": "sig",
        "alg": "EdDSA",
    }


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
