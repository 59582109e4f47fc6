"""Clients that register themselves (RFC 7591), each by an initial access token that an operator has made, and lead
themselves from then on (RFC 7592).

Invariant: of both kinds of token only a SHA-256 is stored; they are 256 bits of chance, so nobody finds one by it. A
use is counted in the transaction that makes the client: of any number of askers at once no more are let through than
are left. What is unknown, used up, expired, revoked, or of a frozen partner is one refusal, and says nothing of which.
"""

import hashlib
from collections.abc import Callable
from hmac import compare_digest
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keys import environment, oauth_client_rows, partners, refusals, requests
from keys import format as key_format
from keys.changes import Author, Change, Changes
from keys.client_records import ClientRequest, OAuthClient
from keys.oauth_clients import OAuthClients
from keys.registration_records import (
    CreatedRegistrationToken,
    RegisteredClient,
    RegistrationRequest,
    RegistrationToken,
)
from keys.secret import Secret
from storage import engine, schema

MOST_USES: Final = 1_000

_TABLE: Final = schema.oauth_registration_tokens
_CLIENTS: Final = schema.oauth_clients
_ID_ENTROPY: Final = 10
_COLUMNS: Final = (
    _TABLE.c.partner_id.label("partner"),
    *(_TABLE.c[name] for name in RegistrationToken.__struct_fields__ if name != "partner"),
)


class RegistrationRefused(Exception):
    """Says nothing of what was presented, nor what is wrong with it."""

    def __init__(self) -> None:
        super().__init__("this lets nobody register or change a client")


class UnknownRegistration(refusals.NotFound):
    def __init__(self, registration_id: str) -> None:
        super().__init__(f"there is no registration token {registration_id!r:.80}")


class RegistrationRevoked(refusals.Conflict):
    def __init__(self, registration_id: str) -> None:
        super().__init__(f"registration token {registration_id} is revoked, for good")


class InvalidUses(refusals.InvalidRequest):
    field = "uses"


class _Use(msgspec.Struct, frozen=True):
    """What lets a registration pass (see `changes.Clearance`)."""

    digest: str

    async def spend(self, change: Change) -> None:
        usable = sa.and_(*_is_usable(self.digest, await change.now()))
        used = await change.conn.execute(
            sa.update(_TABLE).where(usable).values(uses_left=_TABLE.c.uses_left - 1)
        )
        if used.rowcount != 1:
            raise RegistrationRefused


class ClientRegistration:
    def __init__(
        self,
        engine_: AsyncEngine,
        changes: Changes,
        clients: OAuthClients,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._engine = engine_
        self._changes = changes
        self._clients = clients
        self._entropy = entropy

    def check_request(self, request: RegistrationRequest) -> RegistrationRequest:
        environment.parse_environment(request.environment)
        if not 1 <= request.uses <= MOST_USES:
            raise InvalidUses(f"a registration token is good for 1 to {MOST_USES} clients")
        if request.expires_at <= self._changes.now_ms():
            raise requests.InvalidExpiry("it would have expired before it is made")
        return msgspec.structs.replace(request, roles=requests.check_roles(request.roles))

    async def create(self, request: RegistrationRequest, *, author: Author) -> CreatedRegistrationToken:
        asked = self.check_request(request)
        secret = key_format.mint_initial_access(asked.environment, self._entropy(key_format.SECRET_ENTROPY))
        registration_id = f"reg_{self._entropy(_ID_ENTROPY).hex()}"
        async with self._changes.begin(author) as change:
            await partners.get(change.conn, asked.partner)
            row = {
                "id": registration_id,
                "partner_id": asked.partner,
                "environment": asked.environment,
                "roles": list(asked.roles),
                "uses_left": asked.uses,
                "created_at": change.at,
                "expires_at": asked.expires_at,
            }
            await change.conn.execute(sa.insert(_TABLE).values(digest=_digest(secret), **row))
            told = {"roles": list(asked.roles), "uses": asked.uses, "expires_at": asked.expires_at}
            made = await _record(change, "registration_token.created", registration_id, told)
        return CreatedRegistrationToken(registration=made, secret=secret)

    async def list(self, partner: str | None = None) -> tuple[RegistrationToken, ...]:
        """Oldest first."""
        query = sa.select(*_COLUMNS).order_by(_TABLE.c.created_at, _TABLE.c.id)
        if partner is not None:
            query = query.where(_TABLE.c.partner_id == partner)
        async with engine.reading(self._engine) as conn:
            return tuple(_from_row(row) for row in (await conn.execute(query)).mappings())

    async def get(self, registration_id: str) -> RegistrationToken:
        async with engine.reading(self._engine) as conn:
            return await _get(conn, registration_id)

    async def revoke(self, registration_id: str, *, author: Author) -> RegistrationToken:
        """Nobody registers by it any more; the clients that came by it stay."""
        async with self._changes.begin(author) as change:
            if (await _get(change.conn, registration_id)).revoked_at is not None:
                raise RegistrationRevoked(registration_id)
            is_it = _TABLE.c.id == registration_id
            await change.conn.execute(sa.update(_TABLE).where(is_it).values(revoked_at=change.at))
            return await _record(change, "registration_token.revoked", registration_id, {})

    async def find_usable(self, presented: Secret) -> RegistrationToken:
        """As it is now; `register` looks again."""
        digest = _digest_of(presented)
        async with engine.reading(self._engine) as conn:
            usable = _is_usable(digest, await self._changes.now(conn))
            row = (await conn.execute(sa.select(*_COLUMNS).where(*usable))).mappings().first()
        if row is None:
            raise RegistrationRefused
        return _from_row(row)

    async def register(
        self, presented: Secret, request: ClientRequest, *, author: Author
    ) -> RegisteredClient:
        access = key_format.mint_registration_access(
            request.environment, self._entropy(key_format.SECRET_ENTROPY)
        )
        author = msgspec.structs.replace(author, clearance=_Use(_digest_of(presented)))
        made = await self._clients.create(request, author=author, registration_digest=_digest(access))
        return RegisteredClient(client=made.client, access=access)

    async def find_client(self, client_id: str, presented: Secret) -> OAuthClient:
        """The client that leads itself by this, unless it or its partner is stopped."""
        digest = _digest_of(presented)
        async with engine.reading(self._engine) as conn:
            stored = await conn.scalar(
                sa.select(_CLIENTS.c.registration_digest).where(_CLIENTS.c.id == client_id)
            )
            if stored is None or not compare_digest(stored, digest):
                raise RegistrationRefused
            client = await oauth_client_rows.get(conn, client_id)
            partner = await partners.get(conn, client.partner)
        if client.revoked_at is not None or client.frozen_at is not None or partner.frozen_at is not None:
            raise RegistrationRefused
        return client


def _is_usable(digest: str, at: int) -> tuple[sa.ColumnElement[bool], ...]:
    frozen = sa.select(schema.partners.c.id).where(schema.partners.c.frozen_at.is_not(None))
    return (
        _TABLE.c.digest == digest,
        _TABLE.c.uses_left > 0,
        _TABLE.c.revoked_at.is_(None),
        _TABLE.c.expires_at > at,
        _TABLE.c.partner_id.not_in(frozen),
    )


def _digest_of(presented: Secret) -> str:
    """Of what is written as one of ours: anything else is looked for nowhere."""
    try:
        key_format.parse_registration(presented.reveal())
    except key_format.MalformedSecret:
        raise RegistrationRefused from None
    return _digest(presented)


def _digest(secret: Secret) -> str:
    return hashlib.sha256(secret.reveal().encode()).hexdigest()


async def _get(conn: AsyncConnection, registration_id: str) -> RegistrationToken:
    query = sa.select(*_COLUMNS).where(_TABLE.c.id == registration_id)
    row = (await conn.execute(query)).mappings().first()
    if row is None:
        raise UnknownRegistration(registration_id)
    return _from_row(row)


def _from_row(row: sa.RowMapping) -> RegistrationToken:
    fields: dict[str, Any] = dict(row)
    return RegistrationToken(**fields | {"roles": tuple(fields["roles"])})


async def _record(
    change: Change, action: str, registration_id: str, details: dict[str, Any]
) -> RegistrationToken:
    found = await _get(change.conn, registration_id)
    await change.record(
        action, registration_id, environment=found.environment, partner=found.partner, details=details
    )
    return found
