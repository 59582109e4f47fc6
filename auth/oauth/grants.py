"""Grants: what a person allowed a client, and the family of codes and tokens that was ever made of it.

Invariant: a family dies as one. Whether a grant is revoked is asked wherever anything of it is redeemed, and every node
follows its revocation, which is a change like any other: audited, with a revision. A grant ends by itself as well: it
lasts no longer than what was made of it. Refuses to revoke what is not there, not the asker's, or revoked.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth.oauth.drawn import Entropy
from auth.oauth.terms import Person
from keys import format as key_format
from keys import refusals
from keys.changes import SYSTEM, Author, Change, Changes
from keys.changes import person as as_author
from keys.served_clients import ServedClient
from storage import engine, schema

_TABLE: Final = schema.oauth_grants
_CHILDREN: Final = (schema.oauth_codes, schema.oauth_refresh_tokens, schema.oauth_device_codes)
# Whatever was issued last has expired by then, and nobody asks for its grant any more.
_KEPT_MS: Final = 3_600_000
_CLEANED_AT_ONCE: Final = 50
_ID_BYTES: Final = 16


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """`roles` and `methods` are the person's, as of when they allowed it: see `standing` for what is left of them."""

    id: str
    client_id: str
    account_id: str
    partner: str
    roles: tuple[str, ...]
    scope: tuple[str, ...]
    resource: str
    authenticated_at: int
    methods: tuple[str, ...]
    created_at: int
    expires_at: int
    revoked_at: int | None = None
    revoked_reason: str | None = None
    revision: int = 0


class UnknownGrant(refusals.NotFound):
    def __init__(self) -> None:
        super().__init__("there is no such grant, or it has ended")


class OAuthGrants:
    def __init__(self, engine_: AsyncEngine, changes: Changes) -> None:
        self._engine = engine_
        self._changes = changes

    async def list_of_account(self, account_id: str) -> tuple[Grant, ...]:
        """The living ones, the newest first."""
        whose = _TABLE.c.account_id == account_id
        alive = sa.and_(whose, _TABLE.c.revoked_at.is_(None), _TABLE.c.expires_at > self._changes.now_ms())
        query = sa.select(_TABLE).where(alive).order_by(_TABLE.c.created_at.desc(), _TABLE.c.id)
        async with engine.reading(self._engine) as conn:
            return tuple(from_row(row) for row in (await conn.execute(query)).mappings())

    async def find(self, grant_id: str) -> Grant | None:
        """Be it alive or not."""
        async with engine.reading(self._engine) as conn:
            return await find(conn, grant_id)

    async def revoke(
        self, grant_id: str, author: Author, reason: str, *, account_id: str | None = None
    ) -> Grant:
        """`account_id`: of whoever asks, where they may only revoke what is their own."""
        asked = _TABLE.c.id == grant_id
        if account_id is not None:
            asked &= _TABLE.c.account_id == account_id
        async with self._changes.begin(author) as change:
            revoked = await revoke_all(change, asked, reason)
            if not revoked:
                raise UnknownGrant
        return revoked[0]

    async def end(self, grant_id: str, reason: str) -> None:
        """By ourselves, for what was seen of it; whoever comes second finds it done."""
        grant = await self.find(grant_id)
        if grant is None or grant.revoked_at is not None:
            return
        async with self._changes.begin(SYSTEM) as change:
            if not await revoke_all(change, _TABLE.c.id == grant_id, reason):
                change.abandon()


def draft(  # noqa: PLR0913  what a grant says
    entropy: Entropy,
    client: ServedClient,
    person: Person,
    *,
    scope: frozenset[str],
    resource: str,
    at: int,
    until: int,
) -> Grant:
    """`until`: as long as it takes to redeem it; then it lasts as long as what was made of it."""
    if person.partner is None:
        raise ValueError("whoever belongs to no partner acts for none")
    return Grant(
        id=f"grant-{entropy(_ID_BYTES).hex()}",
        client_id=client.id,
        account_id=person.account_id,
        partner=person.partner,
        roles=person.roles,
        scope=tuple(sorted(scope)),
        resource=resource,
        authenticated_at=person.authenticated_at,
        methods=tuple(sorted(person.methods)),
        created_at=at,
        expires_at=until,
    )


def author_of(person: Person, source: str | None) -> Author:
    """As whoever they are stands in the ledger. `source`: the address that they came from."""
    return as_author(person.account_id, source)


async def insert(change: Change, grant: Grant) -> None:
    """In the change in which somebody allows it; cleans up after those that ended long ago."""
    await _clean(change.conn, change.at)
    values = msgspec.structs.asdict(grant) | {
        "scope": " ".join(grant.scope),
        "roles": list(grant.roles),
        "methods": list(grant.methods),
        "revision": change.revision,
    }
    values["partner_id"] = values.pop("partner")
    await change.conn.execute(sa.insert(_TABLE).values(**values))
    await _record(change, "grant.allowed", grant, {"scope": list(grant.scope)})


async def revoke_all(change: Change, which: sa.ColumnElement[bool], reason: str) -> tuple[Grant, ...]:
    """Those of them that were not revoked yet, in a change of the caller's."""
    ending = sa.update(_TABLE).where(which, _TABLE.c.revoked_at.is_(None))
    ending = ending.values(revoked_at=change.at, revoked_reason=reason, revision=change.revision)
    rows = (await change.conn.execute(ending.returning(_TABLE))).mappings().all()
    revoked = tuple(from_row(row) for row in rows)
    for grant in sorted(revoked, key=lambda each: each.id):
        await _record(change, "grant.revoked", grant, {"why": reason})
    return revoked


async def revoke_of_account(change: Change, account_id: str, reason: str) -> int:
    """All that was allowed in this account's name, with every token that was made of it: how many that was."""
    return len(await revoke_all(change, _TABLE.c.account_id == account_id, reason))


async def prolong(conn: AsyncConnection, grant: Grant, until: int) -> Grant:
    """As long as what has just been made of it: no change that anybody has to follow."""
    prolonging = sa.update(_TABLE).where(_TABLE.c.id == grant.id).values(expires_at=until)
    await conn.execute(prolonging)
    return msgspec.structs.replace(grant, expires_at=until)


async def find(conn: AsyncConnection, grant_id: str) -> Grant | None:
    row = (await conn.execute(sa.select(_TABLE).where(_TABLE.c.id == grant_id))).mappings().first()
    return None if row is None else from_row(row)


def from_row(row: sa.RowMapping) -> Grant:
    fields: dict[str, Any] = dict(row)
    fields["partner"] = fields.pop("partner_id")
    fields["scope"] = tuple(fields["scope"].split(" "))
    for name in ("roles", "methods"):
        fields[name] = tuple(fields[name])
    return Grant(**fields)


async def _record(change: Change, action: str, grant: Grant, more: dict[str, Any]) -> None:
    details = {"client": grant.client_id, "account": grant.account_id} | more
    environment = key_format.parse_client_id(grant.client_id)
    await change.record(action, grant.id, environment=environment, partner=grant.partner, details=details)


async def _clean(conn: AsyncConnection, now: int) -> None:
    """A few at a time, so that nobody waits for it, and more than are made."""
    ended = sa.select(_TABLE.c.id).where(_TABLE.c.expires_at < now - _KEPT_MS).order_by(_TABLE.c.expires_at)
    ids: Iterable[str] = (await conn.execute(ended.limit(_CLEANED_AT_ONCE))).scalars().all()
    if not ids:
        return
    for child in _CHILDREN:
        await conn.execute(sa.delete(child).where(child.c.grant_id.in_(ids)))
    await conn.execute(sa.delete(_TABLE).where(_TABLE.c.id.in_(ids)))
