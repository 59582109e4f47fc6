"""The kill switch for routes and environments, and everything that is frozen. Keys and partners have their own.

Invariant: freezing takes one person and no look at what is there; taking it back is made under the state that was seen.
"""

from __future__ import annotations

from functools import partial
from typing import Final, Literal

from litestar import Controller
from msgspec import UNSET, Struct, UnsetType

from gateway.api.control import types
from gateway.api.control.call import Call, Reply
from gateway.api.control.endpoint import endpoint
from gateway.api.control.rules import PREFIX, Rule
from gateway.operations.freeze_operations import Kind
from keys import freezes
from policies import control

TAG: Final = "freezes"


class Freeze(Struct, frozen=True, kw_only=True):
    """`status`: `active` in the answer to the request that took it back. `frozen_by`: the actor, as in the ledger."""

    kind: freezes.AnyKind
    name: str
    status: Literal["frozen", "active"]
    frozen_at: types.Moment
    frozen_by: str | None
    reason: str | None


class FreezeList(Struct, frozen=True, kw_only=True):
    items: tuple[Freeze, ...]
    next: str | None


class FreezeQuery(types.Paging, frozen=True, forbid_unknown_fields=True, kw_only=True):
    kind: freezes.AnyKind | UnsetType = UNSET


def _sample(kind: Kind, name: str, status: Literal["frozen", "active"] = "frozen") -> Freeze:
    return Freeze(
        kind=kind,
        name=name,
        status=status,
        frozen_at=1_763_596_800_000,
        frozen_by="key:prk_live_2Yk4Nq0cJ8mVtXwR5sLbZe1A7hKc",
        reason="orders are filled twice",
    )


_ORDER: Final[tuple[freezes.AnyKind, ...]] = ("environment", "route", "partner", "api-key", "oauth-client")
_ROUTE: Final = "orders-create"
_WHY: Final = types.Why(reason="orders are filled twice")
_OVER: Final = types.Why(reason="the upstream is mended")


class FreezeController(Controller):
    path = PREFIX

    @endpoint(
        Rule(
            id="list_freezes",
            method="GET",
            path="/freezes",
            tag=TAG,
            summary="List everything that is frozen: environments, routes, partners, keys, clients",
            permission=control.FREEZES_READ,
            reach="all",
            query=FreezeQuery,
            answer=FreezeList,
            sample=FreezeList(items=(_sample("route", _ROUTE),), next=None),
        )
    )
    async def list_freezes(self, call: Call) -> Reply:
        after, query = call.position(str), call.query
        found = await call.operations.freezes.find_all(call.operator)
        wanted = [each for each in found if query.kind in {UNSET, each.kind}]
        # Where a page begins is a place, whether or not something is there still: it may have been thawed meanwhile.
        ordered = sorted(wanted, key=_place)
        left = [each for each in ordered if after is None or _place(each) > after]
        shown = left[: query.limit]
        following = call.next(_place(shown[-1]) if len(left) > query.limit else None)
        return Reply(FreezeList(items=tuple(_view(each) for each in shown), next=following), next=following)

    @endpoint(
        Rule(
            id="get_route_freeze",
            method="GET",
            path="/routes/{route}/freeze",
            tag=TAG,
            summary="Look at the freeze of a route",
            permission=control.FREEZES_READ,
            reach="all",
            answer=Freeze,
            sample=_sample("route", _ROUTE),
        )
    )
    async def get_route_freeze(self, call: Call) -> Reply:
        return await _get(call, "route", call.parameters["route"])

    @endpoint(
        Rule(
            id="freeze_route",
            method="POST",
            path="/routes/{route}/freeze",
            tag=TAG,
            summary="Refuse all requests to a route, on every node",
            description="A route is named as in the configuration. One person is enough, and no If-Match is needed.",
            permission=control.FREEZE,
            reach="all",
            environment="subject",
            body=types.Why,
            answer=Freeze,
            sample_body=_WHY,
            sample=_sample("route", _ROUTE),
        )
    )
    async def freeze_route(self, call: Call) -> Reply:
        return await _freeze(call, "route", call.parameters["route"])

    @endpoint(
        Rule(
            id="unfreeze_route",
            method="POST",
            path="/routes/{route}/unfreeze",
            tag=TAG,
            summary="Serve a frozen route again",
            description="Also one that has left the configuration, and may have been of either environment: so it"
            " takes a live key.",
            permission=control.UNFREEZE,
            reach="all",
            environment="live",
            body=types.Why,
            answer=Freeze,
            conditional=True,
            sample_body=_OVER,
            sample=_sample("route", _ROUTE, "active"),
        )
    )
    async def unfreeze_route(self, call: Call) -> Reply:
        return await _unfreeze(call, "route", call.parameters["route"])

    @endpoint(
        Rule(
            id="get_environment_freeze",
            method="GET",
            path="/environments/{environment}/freeze",
            tag=TAG,
            summary="Look at the freeze of an environment",
            permission=control.FREEZES_READ,
            reach="all",
            answer=Freeze,
            sample=_sample("environment", "paper"),
        )
    )
    async def get_environment_freeze(self, call: Call) -> Reply:
        return await _get(call, "environment", call.parameters["environment"])

    @endpoint(
        Rule(
            id="freeze_environment",
            method="POST",
            path="/environments/{environment}/freeze",
            tag=TAG,
            summary="Refuse all requests to all routes of paper, or of live, on every node",
            description="One person is enough, and no If-Match is needed.",
            permission=control.FREEZE,
            reach="all",
            environment="subject",
            body=types.Why,
            answer=Freeze,
            sample_body=_WHY,
            sample=_sample("environment", "paper"),
        )
    )
    async def freeze_environment(self, call: Call) -> Reply:
        return await _freeze(call, "environment", call.parameters["environment"])

    @endpoint(
        Rule(
            id="unfreeze_environment",
            method="POST",
            path="/environments/{environment}/unfreeze",
            tag=TAG,
            summary="Serve a frozen environment again",
            permission=control.UNFREEZE,
            reach="all",
            environment="subject",
            body=types.Why,
            answer=Freeze,
            conditional=True,
            sample_body=_OVER,
            sample=_sample("environment", "paper", "active"),
        )
    )
    async def unfreeze_environment(self, call: Call) -> Reply:
        return await _unfreeze(call, "environment", call.parameters["environment"])


async def _get(call: Call, kind: Kind, name: str) -> Reply:
    found = await call.operations.freezes.get(call.operator, kind, name)
    return Reply(_view(found), revision=found.revision)


async def _freeze(call: Call, kind: Kind, name: str) -> Reply:
    made = await call.operations.freezes.freeze(call.operator, kind, name, reason=call.body.reason)
    return Reply(_view(made), revision=made.revision)


async def _unfreeze(call: Call, kind: Kind, name: str) -> Reply:
    by = call.if_unchanged(partial(freezes.find_revision, kind=kind, name=name))
    was = await call.operations.freezes.unfreeze(by, kind, name, reason=call.body.reason)
    return Reply(_view(was, "active"), revision=was.revision)


def _view(frozen: freezes.Freeze, status: Literal["frozen", "active"] = "frozen") -> Freeze:
    return Freeze(
        kind=frozen.kind,
        name=frozen.name,
        status=status,
        frozen_at=frozen.frozen_at,
        frozen_by=frozen.frozen_by,
        reason=frozen.reason,
    )


def _place(frozen: freezes.Freeze) -> str:
    """What stops most comes first."""
    return f"{_ORDER.index(frozen.kind)}{frozen.name}"
