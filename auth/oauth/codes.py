"""Authorization codes: what leads from a person's yes to the first access token.

Invariant: a code lives at most sixty seconds and is used once, whoever races for it: it is consumed by the statement
that finds it, before anything is made of it. It is its client's alone, and worth nothing without the redirect URI, the
verifier and the key that it was made for. Whatever goes wrong once a code is consumed ends its whole family, and so
does a code that comes a second time (RFC 9700): somebody else has had it.
"""

from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from auth.oauth import drawn, grants, pkce, refresh, standing
from auth.oauth.drawn import Entropy
from auth.oauth.ground import Ground
from auth.oauth.refusals import Refused
from auth.oauth.standing import Bound, Ended, Redeemed
from keys.changes import Change
from keys.secret import Secret
from keys.served_clients import ServedClient
from storage import engine, schema

_TABLE: Final = schema.oauth_codes

CAME_TWICE: Final = "an authorization code came twice"


class Presented(msgspec.Struct, frozen=True, kw_only=True):
    """What a client shows at the token endpoint, as it came."""

    code: str
    redirect_uri: str | None
    verifier: str | None
    bound: Bound
    resource: str | None = None


class Codes:
    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._grants = ground.grants
        self._standing = ground.standing

    async def redeem(self, client: ServedClient, presented: Presented) -> Redeemed:
        """`client` was authenticated, and proved whatever `presented.bound` says."""
        verifier = pkce.parse_verifier(presented.verifier)
        ended: Ended | None = None
        async with engine.transaction(self._ground.engine) as conn:
            now = self._ground.clock()
            row = await _consume(conn, presented.code, client.id, now)
            if row is not None:
                try:
                    _check(row, presented, verifier)
                    return await self._issue(conn, client, row, presented, now)
                except Ended as cause:
                    # Not out of the transaction: the code stays consumed.
                    ended = cause
            else:
                ended = await _find_used(conn, presented.code, client.id)
        if ended is not None:
            await self._grants.end(ended.grant_id, ended.why)
        raise Refused("invalid_grant", "the code is unknown, expired, used, or not for this")

    async def _issue(
        self, conn: AsyncConnection, client: ServedClient, row: sa.RowMapping, presented: Presented, now: int
    ) -> Redeemed:
        grant_id: str = row["grant_id"]
        grant = await grants.find(conn, grant_id)
        asked = () if grant is None else grant.scope
        redeemed = await self._standing.require(conn, client, grant_id, asked, now)
        standing.require_resource(redeemed, presented.resource)
        return await refresh.begin(conn, client, redeemed, presented.bound, self._ground)


async def insert(change: Change, entropy: Entropy, **values: object) -> Secret:
    """In the change that makes its grant."""
    code = drawn.draw(entropy)
    row = values | {"digest": drawn.digest_of(code), "created_at": change.at}
    await change.conn.execute(sa.insert(_TABLE).values(**row))
    return code


async def _consume(conn: AsyncConnection, code: str, client_id: str, now: int) -> sa.RowMapping | None:
    using = sa.update(_TABLE).where(
        _TABLE.c.digest == drawn.digest(code),
        _TABLE.c.client_id == client_id,
        _TABLE.c.used_at.is_(None),
        _TABLE.c.expires_at > now,
    )
    found = (await conn.execute(using.values(used_at=now).returning(_TABLE))).mappings()
    row: sa.RowMapping | None = found.first()
    return row


async def _find_used(conn: AsyncConnection, code: str, client_id: str) -> Ended | None:
    mine = sa.and_(_TABLE.c.digest == drawn.digest(code), _TABLE.c.client_id == client_id)
    used = sa.select(_TABLE.c.grant_id).where(mine, _TABLE.c.used_at.is_not(None))
    grant_id = (await conn.execute(used)).scalar_one_or_none()
    return None if grant_id is None else Ended(grant_id, CAME_TWICE)


def _check(row: sa.RowMapping, presented: Presented, verifier: str) -> None:
    if presented.redirect_uri != row["redirect_uri"]:
        raise Ended(row["grant_id"], "an authorization code came with another redirect URI")
    if not pkce.made(verifier, row["challenge"]):
        raise Ended(row["grant_id"], "an authorization code came with another verifier")
    if row["jkt"] is not None and presented.bound.jkt != row["jkt"]:
        raise Ended(row["grant_id"], "an authorization code came with another key")
