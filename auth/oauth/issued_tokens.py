"""Tokens that come back: what introspection tells of them (RFC 7662), and what revocation ends (RFC 7009).

Invariant: a client sees and ends only what was issued to it. Of everything else (another client's, another issuer's,
something that is no token, one that has expired or was revoked) it is told the same: nothing. What is ended is a change
of the store like any other, audited, so that every node follows it. Ending a refresh token ends what it was given for,
with all that was ever issued for that.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth import jose
from auth.oauth.access_tokens import TYPE
from auth.oauth.grants import OAuthGrants, UnknownGrant
from keys.changes import Author, Changes
from keys.served_clients import ServedClient
from keys.signing_keys import Jwk
from storage import engine, schema

_REVOKED: Final = schema.oauth_revoked_tokens
_REFRESH: Final = schema.oauth_refresh_tokens
_GRANTS: Final = schema.oauth_grants
_REASON: Final = "its client revoked it"
# Nobody follows a row any more that outlived its token by this.
_KEPT_MS: Final = 3_600_000
_CLEANED_AT_ONCE: Final = 50


class _Refresh(msgspec.Struct, frozen=True):
    grant_id: str
    account_id: str
    scope: str
    resource: str
    created_at: int
    expires_at: int
    jkt: str | None
    x5t: str | None


class IssuedTokens:
    def __init__(
        self,
        engine_: AsyncEngine,
        changes: Changes,
        grants: OAuthGrants,
        published: Callable[[], Sequence[Jwk]],
        issuer: str,
    ) -> None:
        self._engine = engine_
        self._changes = changes
        self._grants = grants
        self._published = published
        self._issuer = issuer
        self._keys: dict[str, jose.VerificationKey] = {}

    async def introspect(self, client: ServedClient, presented: str, now_ms: int) -> dict[str, Any]:
        claims = self._read(client, presented)
        async with engine.reading(self._engine) as conn:
            if claims is None:
                refresh = await _find_refresh(conn, client, presented, now_ms)
                return {"active": False} if refresh is None else self._tell_refresh(client, refresh)
            if claims["exp"] * 1000 <= now_ms or await _is_revoked(conn, claims):
                return {"active": False}
        is_bound = "jkt" in claims.get("cnf", {})
        return {"active": True, **claims, "token_type": "DPoP" if is_bound else "Bearer"}

    async def revoke(self, client: ServedClient, presented: str, author: Author, now_ms: int) -> None:
        claims = self._read(client, presented)
        if claims is not None:
            if claims["exp"] * 1000 > now_ms:
                await self._revoke_access(client, claims, author)
            return
        async with engine.reading(self._engine) as conn:
            refresh = await _find_refresh(conn, client, presented, now_ms)
        if refresh is None:
            return
        try:
            await self._grants.revoke(refresh.grant_id, author, _REASON)
        except UnknownGrant:
            # Somebody was quicker.
            return

    async def _revoke_access(self, client: ServedClient, claims: dict[str, Any], author: Author) -> None:
        jti = claims["jti"]
        async with self._changes.begin(author) as change:
            if await change.conn.scalar(sa.select(_REVOKED.c.jti).where(_REVOKED.c.jti == jti)) is not None:
                change.abandon()
                return
            row = {
                "jti": jti,
                "client_id": client.id,
                "expires_at": claims["exp"] * 1000,
                "revision": change.revision,
            }
            await change.conn.execute(sa.insert(_REVOKED).values(**row))
            await _clean(change.conn, change.at)
            await change.record(
                "access_token.revoked",
                client.id,
                environment=client.environment,
                partner=client.partner,
                details={"jti": jti, "why": _REASON},
            )

    def _read(self, client: ServedClient, presented: str) -> dict[str, Any] | None:
        """The claims of an access token of ours that was issued to this client."""
        try:
            jws = jose.parse(presented)
            key = self._find_key(jws.kid)
            if key is None:
                return None
            jose.verify(jws, key)
        except (jose.MalformedJws, jose.BadJwsSignature):
            return None
        is_ours = jws.header.get("typ") == TYPE and jws.claims.get("iss") == self._issuer
        return jws.claims if is_ours and jws.claims.get("client_id") == client.id else None

    def _find_key(self, kid: str | None) -> jose.VerificationKey | None:
        jwk = next((each for each in self._published() if each["kid"] == kid), None)
        if jwk is None:
            return None
        # A key's id is its thumbprint: what is kept under it can be no other key.
        known = self._keys.get(jwk["kid"])
        if known is None:
            known = self._keys[jwk["kid"]] = jose.parse_public_jwk(jwk)
        return known

    def _tell_refresh(self, client: ServedClient, refresh: _Refresh) -> dict[str, Any]:
        told: dict[str, Any] = {
            "active": True,
            "iss": self._issuer,
            "client_id": client.id,
            "sub": refresh.account_id,
            "aud": refresh.resource,
            "scope": refresh.scope,
            "iat": refresh.created_at // 1000,
            "exp": refresh.expires_at // 1000,
        }
        bound = {"jkt": refresh.jkt, "x5t#S256": refresh.x5t}
        cnf = {name: thumbprint for name, thumbprint in bound.items() if thumbprint is not None}
        return told | ({"cnf": cnf} if cnf else {})


async def _is_revoked(conn: AsyncConnection, claims: dict[str, Any]) -> bool:
    if await conn.scalar(sa.select(_REVOKED.c.jti).where(_REVOKED.c.jti == claims["jti"])) is not None:
        return True
    if "grant" not in claims:
        return False
    alive = sa.select(_GRANTS.c.id).where(_GRANTS.c.id == claims["grant"], _GRANTS.c.revoked_at.is_(None))
    return await conn.scalar(alive) is None


async def _find_refresh(
    conn: AsyncConnection, client: ServedClient, presented: str, now_ms: int
) -> _Refresh | None:
    digest = hashlib.sha256(presented.encode("utf-8", "surrogatepass")).hexdigest()
    columns = [
        _REFRESH.c.grant_id,
        _GRANTS.c.account_id,
        _REFRESH.c.scope,
        _GRANTS.c.resource,
        _REFRESH.c.created_at,
        _REFRESH.c.expires_at,
        _REFRESH.c.jkt,
        _REFRESH.c.x5t,
    ]
    query = sa.select(*columns).join(_GRANTS, _GRANTS.c.id == _REFRESH.c.grant_id)
    query = query.where(
        _REFRESH.c.digest == digest,
        _REFRESH.c.client_id == client.id,
        _REFRESH.c.expires_at > now_ms,
        _GRANTS.c.revoked_at.is_(None),
        # One that has been exchanged for the next is over; one that is used again and again is not.
        _REFRESH.c.used_at.is_(None) | _REFRESH.c.rotates.is_(False),
    )
    row = (await conn.execute(query)).first()
    return None if row is None else _Refresh(*row)


async def _clean(conn: AsyncConnection, now_ms: int) -> None:
    """A few at a time, so that nobody waits for it, and more than are made."""
    ended = sa.select(_REVOKED.c.jti).where(_REVOKED.c.expires_at < now_ms - _KEPT_MS)
    ended = ended.order_by(_REVOKED.c.expires_at).limit(_CLEANED_AT_ONCE)
    await conn.execute(sa.delete(_REVOKED).where(_REVOKED.c.jti.in_(ended.scalar_subquery())))
