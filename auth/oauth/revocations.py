"""Access tokens that are refused although they have not expired: revoked ones, and those of what a person took back.

It follows the store's revision as the directory's companion, so that each node refuses what any node was told, within
a second. Invariant: what was revoked is refused until no token of it can be good any more, and forgotten then, so that
what is held is what was revoked in the last hour or so. A store that was restored has another history, which the
ledger's chain tells: then all of it is read anew. While the store is away the last state stands.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage import audit, chain, engine, revision, schema

_TOKENS: Final = schema.oauth_revoked_tokens
_GRANTS: Final = schema.oauth_grants
_LONGEST_READ_S: Final = 60.0
# Longer by far than any access token of ours lives, whatever clocks say.
_KEPT_MS: Final = 3_600_000


class ServedRevocations:
    def __init__(self, engine_: AsyncEngine, clock: Callable[[], int]) -> None:
        self._engine = engine_
        self._clock = clock
        # Each until when it has to be known.
        self._tokens: dict[str, int] = {}
        self._grants: dict[str, int] = {}
        self._revision: int | None = None
        self._changed_at: int | None = None
        self._ledger = chain.START
        self._refreshing = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._tokens) + len(self._grants)

    def revoked(self, jti: str, grant: str | None) -> bool:
        return jti in self._tokens or grant in self._grants

    async def refresh(self) -> None:
        async with self._refreshing:
            try:
                async with asyncio.timeout(_LONGEST_READ_S), engine.reading(self._engine) as conn:
                    await self._read(conn)
            except TimeoutError as cause:
                raise engine.StorageUnavailable("the key store did not answer in time") from cause

    async def _read(self, conn: AsyncConnection) -> None:
        # Asked before the rows: what commits in between is read now, and once more the next time.
        current, changed_at = await revision.latest(conn)
        since = self._revision
        if since is not None and (current, changed_at) == (since, self._changed_at):
            return
        if since is not None and not (current > since and await audit.holds(conn, self._ledger)):
            since = None
        ledger = chain.Place(*await audit.head(conn))
        now_ms = self._clock()
        tokens, grants = await _read_tokens(conn, since, now_ms), await _read_grants(conn, since, now_ms)
        if since is not None:
            tokens, grants = self._tokens | tokens, self._grants | grants
        # Replaced whole, so that nobody sees half of it.
        self._tokens, self._grants = _still_needed(tokens, now_ms), _still_needed(grants, now_ms)
        self._revision, self._changed_at, self._ledger = current, changed_at, ledger


async def _read_tokens(conn: AsyncConnection, since: int | None, now_ms: int) -> dict[str, int]:
    query = sa.select(_TOKENS.c.jti, _TOKENS.c.expires_at).where(_TOKENS.c.expires_at > now_ms - _KEPT_MS)
    if since is not None:
        query = query.where(_TOKENS.c.revision > since)
    return {jti: expires_at + _KEPT_MS for jti, expires_at in await conn.execute(query)}


async def _read_grants(conn: AsyncConnection, since: int | None, now_ms: int) -> dict[str, int]:
    query = sa.select(_GRANTS.c.id, _GRANTS.c.revoked_at).where(_GRANTS.c.revoked_at > now_ms - _KEPT_MS)
    if since is not None:
        query = query.where(_GRANTS.c.revision > since)
    return {grant: revoked_at + _KEPT_MS for grant, revoked_at in await conn.execute(query)}


def _still_needed(until: dict[str, int], now_ms: int) -> dict[str, int]:
    return {name: ends_ms for name, ends_ms in until.items() if ends_ms > now_ms}
