"""Secrets, and what would happen to them, a page at a time.

Invariant: a page costs what a page holds, however many secrets there are; a page begins behind the last secret of the
one before, so what is made meanwhile shifts nothing. What would happen is told by `due.plan`, and that is acted on.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keys import candidates, due, versions
from keys.changes import Clock
from keys.due import Action
from keys.held import HeldSecret
from keys.kinds import Kind
from keys.records import VersionState
from keys.register import Domain
from keys.register import Kind as KindName
from keys.schedules import Schedules
from storage import engine, schema

LONGEST_PAGE: Final = 500

_SECRETS: Final = schema.secrets
_VERSIONS: Final = schema.secret_versions
_DOMAINS: Final[tuple[Domain, ...]] = ("paper", "live", "service")
_ORDER: Final = (_SECRETS.c.created_at, _SECRETS.c.id)

Ids = sa.Select[tuple[str]]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which secrets. `state`: those with at least one version in it."""

    kind: KindName | None = None
    environment: Domain | None = None
    partner: str | None = None
    state: VersionState | None = None


class SecretPage(msgspec.Struct, frozen=True, kw_only=True):
    """`after` is what the next page is asked with; None when this is the last."""

    secrets: tuple[HeldSecret, ...]
    after: str | None


class PlannedPage(msgspec.Struct, frozen=True, kw_only=True):
    """Every action of the secrets of one page, by secret in the order of `SecretPage`, each in the order of time."""

    actions: tuple[Action, ...]
    after: str | None


class SecretPages:
    def __init__(
        self, engine_: AsyncEngine, clock: Clock, kinds: Mapping[KindName, Kind], schedules: Schedules
    ) -> None:
        self._engine = engine_
        self._clock = clock
        self._kinds = dict(kinds)
        self._schedules = schedules

    async def find_page(
        self, wanted: Wanted, *, after: str | None = None, limit: int = LONGEST_PAGE
    ) -> SecretPage:
        """Oldest first."""
        return await self._read(_matching(wanted), after, limit)

    async def plan_page(
        self, wanted: Wanted, until_ms: int, *, after: str | None = None, limit: int = LONGEST_PAGE
    ) -> PlannedPage:
        """Secrets of which nothing would be done are not looked at."""
        now_ms = self._clock()
        among = _matching(wanted).where(
            _SECRETS.c.kind.in_(self._kinds), self._may_be_planned(now_ms, until_ms)
        )
        page = await self._read(among, after, limit)
        keep_older = {name for name, kind in self._kinds.items() if not kind.ends_older}
        actions = [
            action
            for secret in page.secrets
            for action in due.plan((secret,), self._schedules, now_ms, until_ms, keep_older=keep_older)
        ]
        return PlannedPage(actions=tuple(actions), after=page.after)

    async def _read(self, among: Ids, after: str | None, limit: int) -> SecretPage:
        size = max(1, min(limit, LONGEST_PAGE))
        async with engine.reading(self._engine) as conn:
            if after is not None:
                last = sa.tuple_(*(sa.literal(part) for part in await _get_place(conn, after)))
                among = among.where(sa.tuple_(*_ORDER) > last)
            page = among.order_by(*_ORDER).limit(size + 1).subquery()
            found = await versions.list_all(conn, among=sa.select(page.c.id))
        more = len(found) > size
        return SecretPage(secrets=tuple(found[:size]), after=found[size - 1].id if more else None)

    def _may_be_planned(self, now_ms: int, until_ms: int) -> sa.ColumnElement[bool]:
        """What is due by then; and what will have expired by then, of which nothing is due any more, but was."""
        soon = candidates.select_ids(self._schedules, self._kinds, until_ms)
        longest = max(self._warnings_ahead(), default=0)
        ending = [
            _SECRETS.c.id.in_(
                sa.select(table.c.id).where(
                    table.c.expires_at > now_ms, table.c.expires_at <= until_ms + longest
                )
            )
            for table in (schema.api_keys, schema.oauth_clients)
        ]
        return sa.or_(_SECRETS.c.id.in_(soon), *ending)

    def _warnings_ahead(self) -> Iterator[int]:
        for kind in self._kinds:
            for environment in _DOMAINS:
                yield from self._schedules.get(kind, environment).warn_ahead_ms


async def find_revision(conn: AsyncConnection, secret_id: str) -> int | None:
    query = sa.select(_SECRETS.c.revision).where(_SECRETS.c.id == secret_id)
    found: int | None = (await conn.execute(query)).scalar_one_or_none()
    return found


def _matching(wanted: Wanted) -> Ids:
    query = sa.select(_SECRETS.c.id)
    asked = {"kind": wanted.kind, "environment": wanted.environment, "partner_id": wanted.partner}
    for column, value in asked.items():
        if value is not None:
            query = query.where(_SECRETS.c[column] == value)
    if wanted.state is not None:
        living = sa.select(_VERSIONS.c.version).where(
            _VERSIONS.c.secret_id == _SECRETS.c.id, _VERSIONS.c.state == wanted.state
        )
        query = query.where(sa.exists(living))
    return query


async def _get_place(conn: AsyncConnection, secret_id: str) -> tuple[int, str]:
    row = (await conn.execute(sa.select(*_ORDER).where(_SECRETS.c.id == secret_id))).first()
    if row is None:
        raise versions.UnknownSecret(secret_id)
    return row.created_at, row.id
