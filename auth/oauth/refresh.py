"""Refresh tokens: the next access token without asking the person again.

Invariant: one is worth nothing without the key or certificate that it was bound to, gives no more scope than it has and
no more than its person and client have now, and ends with its grant. Those of clients that prove a key stay the same.
Those of public clients, and of whoever holds a bare one, are used once and replaced, in one transaction; one that comes
twice has been in two hands, which ends the family (RFC 9700).
"""

from collections.abc import Mapping
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from auth.oauth import drawn, grants, scopes, standing
from auth.oauth.drawn import Entropy
from auth.oauth.grants import Grant
from auth.oauth.ground import Ground
from auth.oauth.refusals import Refused
from auth.oauth.standing import Bound, Ended, Redeemed
from keys.secret import Secret
from keys.served_clients import ServedClient
from storage import engine, schema

GRANT: Final = "refresh_token"
CAME_TWICE: Final = "a refresh token came twice"

_TABLE: Final = schema.oauth_refresh_tokens
_REFUSED: Final = "the refresh token is unknown, expired, used, or not for this"


class RefreshTokens:
    def __init__(self, ground: Ground) -> None:
        self._engine = ground.engine
        self._grants = ground.grants
        self._standing = ground.standing
        self._clock = ground.clock
        self._entropy = ground.entropy

    async def redeem(
        self,
        client: ServedClient,
        presented: str,
        *,
        scope: str | None,
        bound: Bound,
        resource: str | None = None,
    ) -> Redeemed:
        """`client` was authenticated, and proved whatever `bound` says."""
        try:
            async with engine.transaction(self._engine) as conn:
                row = await _find(conn, presented, client.id)
                redeemed = await self._redeem(conn, client, row, scope, bound)
                standing.require_resource(redeemed, resource)
                return redeemed
        except Ended as ended:
            await self._grants.end(ended.grant_id, ended.why)
            raise Refused("invalid_grant", _REFUSED) from None

    async def _redeem(
        self, conn: AsyncConnection, client: ServedClient, row: sa.RowMapping, scope: str | None, bound: Bound
    ) -> Redeemed:
        now = self._clock()
        if row["used_at"] is not None:
            raise Ended(row["grant_id"], CAME_TWICE)
        if row["expires_at"] <= now or not _fits(row, bound):
            raise Refused("invalid_grant", _REFUSED)
        asked = scopes.narrow(scope, row["scope"].split(" "))
        redeemed = await self._standing.require(conn, client, row["grant_id"], asked, now)
        if not row["rotates"]:
            return redeemed
        await _consume(conn, row, now)
        renewed = await _insert(conn, row, redeemed.grant, now, self._entropy)
        return msgspec.structs.replace(redeemed, refresh=renewed)


async def begin(
    conn: AsyncConnection,
    client: ServedClient,
    redeemed: Redeemed,
    bound: Bound,
    ground: Ground,
) -> Redeemed:
    """What a grant comes to once it is first redeemed: with a refresh token, where the client has any use for one."""
    now = ground.clock()
    if GRANT not in client.grants:
        grant = await grants.prolong(conn, redeemed.grant, now + ground.terms.access_ms)
        return msgspec.structs.replace(redeemed, grant=grant)
    grant = await grants.prolong(conn, redeemed.grant, now + ground.terms.refresh_ms)
    first = {
        "grant_id": grant.id,
        "client_id": client.id,
        "scope": scopes.write(grant.scope),
        "jkt": bound.jkt,
        "x5t": bound.x5t,
        "rotates": client.authentication == "none" or bound == Bound(),
    }
    return msgspec.structs.replace(
        redeemed, grant=grant, refresh=await _insert(conn, first, grant, now, ground.entropy)
    )


async def _find(conn: AsyncConnection, presented: str, client_id: str) -> sa.RowMapping:
    mine = sa.and_(_TABLE.c.digest == drawn.digest(presented), _TABLE.c.client_id == client_id)
    row = (await conn.execute(sa.select(_TABLE).where(mine))).mappings().first()
    if row is None:
        raise Refused("invalid_grant", _REFUSED)
    return row


def _fits(row: sa.RowMapping, bound: Bound) -> bool:
    return row["jkt"] in {None, bound.jkt} and row["x5t"] in {None, bound.x5t}


async def _consume(conn: AsyncConnection, row: sa.RowMapping, now: int) -> None:
    """Whoever read it at the same time, only one finds it unused."""
    using = sa.update(_TABLE).where(_TABLE.c.digest == row["digest"], _TABLE.c.used_at.is_(None))
    if (await conn.execute(using.values(used_at=now))).rowcount != 1:
        raise Ended(row["grant_id"], CAME_TWICE)


async def _insert(
    conn: AsyncConnection,
    like: sa.RowMapping | Mapping[str, object],
    grant: Grant,
    now: int,
    entropy: Entropy,
) -> Secret:
    """No longer than its grant: a family's end does not move."""
    drawn_now = drawn.draw(entropy)
    same = {name: like[name] for name in ("grant_id", "client_id", "scope", "jkt", "x5t", "rotates")}
    own = {"digest": drawn.digest_of(drawn_now), "created_at": now, "expires_at": grant.expires_at}
    await conn.execute(sa.insert(_TABLE).values(**same, **own))
    return drawn_now
