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
from typing import Final, Literal, NamedTuple

import msgspec
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keys import envelope
from keys.changes import Change, Changes, Clock
from keys.data_keys import DataKeys, OpenDataKey
from storage import engine, schema

IDENTITY: Final = "identity"

Jwk = dict[str, str]
RingState = Literal["next", "current", "retired"]

_CUSTODY: Final = "service"
_SEED_SIZE: Final = 32
_VERSION: Final = 1
_TABLE: Final = schema.ring_keys


class RingUnusable(Exception):
    pass


class RingKey(msgspec.Struct, frozen=True, eq=False):
    """The private key object prints as its address."""

    kid: str
    state: RingState
    private_key: Ed25519PrivateKey
    jwk: Jwk
    not_after: int | None


class _Stored(NamedTuple):
    id: str
    state: RingState
    ciphertext: bytes
    data_key_id: str
    not_after: int | None


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

    async def ensure(self, *, actor: str) -> str:
        """The id of the current key; the first one is made here."""
        data_key = await self._data_keys.get_current(_CUSTODY)
        async with self._changes.begin(actor) as change:
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
        self._signer = next((key for key in keys if key.state == "current"), None)

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
        await change.conn.execute(
            sa.insert(_TABLE).values(
                id=kid,
                ring=self._name,
                state="current",
                algorithm=jwk["alg"],
                public_jwk=jwk,
                ciphertext=ciphertext,
                data_key_id=data_key.id,
                created_at=change.at,
                revision=change.revision,
            )
        )
        await change.record("ring_key.created", kid, details={"ring": self._name, "state": "current"})

    async def _open(self, stored: _Stored) -> RingKey:
        seed = envelope.open_(
            await self._data_keys.get(stored.data_key_id),
            stored.ciphertext,
            kind=self._kind,
            record_id=stored.id,
            version=_VERSION,
            environment=_CUSTODY,
        )
        private_key = Ed25519PrivateKey.from_private_bytes(seed)
        jwk = _public_jwk(private_key)
        if jwk["kid"] != stored.id:
            raise RingUnusable(f"the key stored as {stored.id} in the {self._name} ring is another one")
        return RingKey(stored.id, stored.state, private_key, jwk, stored.not_after)

    @property
    def _kind(self) -> str:
        return f"ring-key/{self._name}"


async def _read(conn: AsyncConnection, ring: str) -> list[_Stored]:
    columns = tuple(_TABLE.c[name] for name in _Stored._fields)
    query = sa.select(*columns).where(_TABLE.c.ring == ring).order_by(_TABLE.c.created_at, _TABLE.c.id)
    return [_Stored(*row) for row in await conn.execute(query)]


async def _has_current(conn: AsyncConnection, ring: str) -> bool:
    return any(stored.state == "current" for stored in await _read(conn, ring))


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
