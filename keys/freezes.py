"""The kill switch for what is not a key or a partner: a route, or a whole environment.

Invariant: a freeze is a row, changed only through `changes` and so audited; what nodes serve of it is read in the same
moment of the store as the keys, so that a node that has a revision has its freezes. Refuses: to freeze what is frozen
or thaw what is not, an environment that does not exist, and what cannot be a route's name. Whether a route of that
name is configured is the gateway's knowledge.
"""

import re
from collections.abc import Iterable
from typing import Final, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keys import environment, refusals
from keys.changes import Author, Changes
from storage import engine, schema

Kind = Literal["environment", "route"]
AnyKind = Literal["environment", "route", "partner", "api-key", "oauth-client"]

_TABLE: Final = schema.freezes
_FREEZING: Final = ("api_key.frozen", "oauth_client.frozen", "partner.frozen", "leak.found")
_ROUTE_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}", re.ASCII)


class Freeze(msgspec.Struct, frozen=True, kw_only=True):
    """`frozen_by`: of a key's or a partner's freeze the ledger says it. `revision`: of the change."""

    kind: AnyKind
    name: str
    frozen_at: int
    frozen_by: str | None
    reason: str | None
    revision: int


class InvalidRouteName(refusals.InvalidRequest):
    field = "route"


class AlreadyFrozen(refusals.Conflict):
    def __init__(self, kind: Kind, name: str) -> None:
        super().__init__(f"{kind} {name!r} is frozen")


class NotFrozen(refusals.Conflict):
    def __init__(self, kind: Kind, name: str) -> None:
        super().__init__(f"{kind} {name!r} is not frozen")


class ServedFreezes:
    """What the request path asks: changed in place, in one step, whenever a node applies a revision."""

    __slots__ = ("active", "environments", "routes")

    def __init__(self) -> None:
        # The one thing that is looked at while nothing is frozen.
        self.active = False
        self.environments: frozenset[str] = frozenset()
        self.routes: frozenset[str] = frozenset()

    def serve(self, freezes: Iterable[Freeze]) -> None:
        found = tuple(freezes)
        self.environments = frozenset(each.name for each in found if each.kind == "environment")
        self.routes = frozenset(each.name for each in found if each.kind == "route")
        self.active = bool(found)

    def find(self, route: str, environment_: str | None) -> Kind | None:
        """What stops a request; of both the wider."""
        if environment_ in self.environments:
            return "environment"
        return "route" if route in self.routes else None


class Freezes:
    def __init__(self, engine_: AsyncEngine, changes: Changes) -> None:
        self._engine = engine_
        self._changes = changes

    async def list(self) -> tuple[Freeze, ...]:
        """Environments, then routes."""
        async with engine.reading(self._engine) as conn:
            return await read(conn)

    async def list_all(self) -> tuple[Freeze, ...]:
        """Everything that is frozen: environments, routes, partners, keys, clients."""
        async with engine.reading(self._engine) as conn:
            partners = await _read_frozen(conn, schema.partners, "partner")
            api_keys = await _read_frozen(conn, schema.api_keys, "api-key")
            clients = await _read_frozen(conn, schema.oauth_clients, "oauth-client")
            return (*await read(conn), *partners, *api_keys, *clients)

    async def freeze_route(self, name: str, *, author: Author) -> Freeze:
        return await self._freeze("route", _check_route(name), author)

    async def unfreeze_route(self, name: str, *, author: Author) -> Freeze:
        """What was frozen, with the revision of the change that thawed it."""
        return await self._unfreeze("route", _check_route(name), author)

    async def freeze_environment(self, name: str, *, author: Author) -> Freeze:
        return await self._freeze("environment", environment.parse_environment(name), author)

    async def unfreeze_environment(self, name: str, *, author: Author) -> Freeze:
        """What was frozen, with the revision of the change that thawed it."""
        return await self._unfreeze("environment", environment.parse_environment(name), author)

    async def _freeze(self, kind: Kind, name: str, author: Author) -> Freeze:
        async with self._changes.begin(author) as change:
            if await _find(change.conn, kind, name) is not None:
                raise AlreadyFrozen(kind, name)
            frozen = Freeze(
                kind=kind,
                name=name,
                frozen_at=change.at,
                frozen_by=author.actor,
                reason=author.reason,
                revision=change.revision,
            )
            await change.conn.execute(sa.insert(_TABLE).values(**msgspec.structs.asdict(frozen)))
            await change.record(f"{kind}.frozen", name, environment=_environment(frozen))
        return frozen

    async def _unfreeze(self, kind: Kind, name: str, author: Author) -> Freeze:
        async with self._changes.begin(author) as change:
            frozen = await _find(change.conn, kind, name)
            if frozen is None:
                raise NotFrozen(kind, name)
            await change.conn.execute(sa.delete(_TABLE).where(_is(kind, name)))
            before = {
                "frozen_at": frozen.frozen_at,
                "frozen_by": frozen.frozen_by,
                "frozen_reason": frozen.reason,
            }
            await change.record(f"{kind}.unfrozen", name, environment=_environment(frozen), details=before)
        return msgspec.structs.replace(frozen, revision=change.revision)


async def read(conn: AsyncConnection) -> tuple[Freeze, ...]:
    rows = (await conn.execute(sa.select(_TABLE).order_by(_TABLE.c.kind, _TABLE.c.name))).mappings()
    return tuple(Freeze(**row) for row in rows)


async def find_revision(conn: AsyncConnection, kind: Kind, name: str) -> int | None:
    found = await _find(conn, kind, name)
    return None if found is None else found.revision


async def _find(conn: AsyncConnection, kind: Kind, name: str) -> Freeze | None:
    row = (await conn.execute(sa.select(_TABLE).where(_is(kind, name)))).mappings().first()
    return None if row is None else Freeze(**row)


async def _read_frozen(conn: AsyncConnection, table: sa.Table, kind: AnyKind) -> list[Freeze]:
    query = sa.select(
        sa.literal(kind).label("kind"),
        table.c.id.label("name"),
        table.c.frozen_at,
        _freezer(table).label("frozen_by"),
        table.c.frozen_reason.label("reason"),
        table.c.revision,
    )
    rows = await conn.execute(query.where(table.c.frozen_at.is_not(None)).order_by(table.c.id))
    return [Freeze(**row) for row in rows.mappings()]


def _freezer(table: sa.Table) -> sa.ScalarSelect[str]:
    """Whose entry in the ledger is the first since it is frozen; a leak that is found freezes, too."""
    entry = schema.audit_events.c
    return (
        sa.select(entry.actor)
        .where(entry.subject == table.c.id, entry.action.in_(_FREEZING), entry.at >= table.c.frozen_at)
        .order_by(entry.seq)
        .limit(1)
        .scalar_subquery()
    )


def _environment(frozen: Freeze) -> str | None:
    return frozen.name if frozen.kind == "environment" else None


def _is(kind: Kind, name: str) -> sa.ColumnElement[bool]:
    return sa.and_(_TABLE.c.kind == kind, _TABLE.c.name == name)


def _check_route(name: str) -> str:
    if _ROUTE_NAME.fullmatch(name) is None:
        raise InvalidRouteName(f"not the name of a route: {name!r:.80}")
    return name
