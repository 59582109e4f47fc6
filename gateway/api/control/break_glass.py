"""Break-glass: to act without a second person for a short while, seen by everybody.

Invariant: opening it does nothing more than that; each request made under it has to say so, with
`Portreeve-Break-Glass`, by the very key that opened it.
"""

from __future__ import annotations

from typing import Annotated, Final

from litestar import Controller
from msgspec import Meta, Struct, structs

from gateway.api.control import types
from gateway.api.control.call import Call, Reply
from gateway.api.control.endpoint import endpoint
from gateway.api.control.rules import PREFIX, Rule
from gateway.operations import Operator
from keys import break_glass
from policies import control

TAG: Final = "break-glass"

_UNLESS_TOLD_MS: Final = 900_000


class BreakGlassOpening(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The policies may bound `length_ms` further."""

    reason: types.Reason
    length_ms: Annotated[int, Meta(ge=1, le=3_600_000, description="Milliseconds")] = _UNLESS_TOLD_MS


class BreakGlassClosing(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    reason: types.Reason | None = None


class BreakGlass(Struct, frozen=True, kw_only=True):
    id: str
    opened_by: str
    opened_at: types.Moment
    expires_at: types.Moment
    reason: str
    closed_at: types.Moment | None
    closed_by: str | None


class BreakGlassList(Struct, frozen=True, kw_only=True):
    """All of them: there are few, or something is wrong. `next` is always null."""

    items: tuple[BreakGlass, ...]
    next: str | None = None


SAMPLE: Final = BreakGlass(
    id="brg_m4tq7yq2o5hzkd3e",
    opened_by="key:prk_live_2Yk4Nq0cJ8mVtXwR5sLbZe1A7hKc",
    opened_at=1_763_596_800_000,
    expires_at=1_763_597_700_000,
    reason="02:40, live orders fail, nobody answers",
    closed_at=None,
    closed_by=None,
)


class BreakGlassController(Controller):
    path = PREFIX

    @endpoint(
        Rule(
            id="list_break_glass",
            method="GET",
            path="/break-glass",
            tag=TAG,
            summary="List what is open, and whose",
            permission=control.APPROVALS_READ,
            reach="all",
            answer=BreakGlassList,
            sample=BreakGlassList(items=(SAMPLE,)),
        )
    )
    async def list_break_glass(self, call: Call) -> Reply:
        found = await call.operations.break_glass.find_all_open(call.operator)
        return Reply(BreakGlassList(items=tuple(_view(each) for each in found)))

    @endpoint(
        Rule(
            id="open_break_glass",
            method="POST",
            path="/break-glass",
            tag=TAG,
            summary="Begin to act without a second person",
            description="For the key that opens it and no other. Requests made under it carry its id in"
            " Portreeve-Break-Glass, and a reason. Every node says it aloud, and the ledger names it with each act.",
            permission=control.BREAK_GLASS,
            reach="all",
            environment="live",
            body=BreakGlassOpening,
            answer=BreakGlass,
            status=201,
            settles="break-glass.opened",
            tagged=False,
            sample_body=BreakGlassOpening(reason="02:40, live orders fail, nobody answers"),
            sample=SAMPLE,
        )
    )
    async def open_break_glass(self, call: Call) -> Reply:
        asked: BreakGlassOpening = call.body

        async def make(by: Operator) -> Reply:
            return _made(await call.operations.break_glass.open(by, asked.length_ms, reason=asked.reason))

        async def again(by: Operator, glass_id: str) -> Reply:
            reader = by.with_permission(control.APPROVALS_READ)
            return _made(await call.operations.break_glass.get(reader, glass_id))

        return await call.once(make, again)

    @endpoint(
        Rule(
            id="get_break_glass",
            method="GET",
            path="/break-glass/{glass_id}",
            tag=TAG,
            summary="Look at one, open or over",
            permission=control.APPROVALS_READ,
            reach="all",
            answer=BreakGlass,
            tagged=False,
            sample=SAMPLE,
        )
    )
    async def get_break_glass(self, call: Call) -> Reply:
        glass_id = call.parameters["glass_id"]
        return Reply(_view(await call.operations.break_glass.get(call.operator, glass_id)))

    @endpoint(
        Rule(
            id="close_break_glass",
            method="POST",
            path="/break-glass/{glass_id}/close",
            tag=TAG,
            summary="End it, whoever opened it",
            permission=control.BREAK_GLASS,
            reach="all",
            environment="live",
            body=BreakGlassClosing,
            answer=BreakGlass,
            tagged=False,
            sample_body=BreakGlassClosing(reason="it is done"),
            sample=structs.replace(SAMPLE, closed_at=1_763_597_000_000, closed_by=SAMPLE.opened_by),
        )
    )
    async def close_break_glass(self, call: Call) -> Reply:
        (closed,) = await call.operations.break_glass.close(
            call.operator, call.parameters["glass_id"], reason=call.body.reason
        )
        return Reply(_view(closed))


def _view(glass: break_glass.Glass) -> BreakGlass:
    return BreakGlass(**{name: getattr(glass, name) for name in BreakGlass.__struct_fields__})


def _made(glass: break_glass.Glass) -> Reply:
    return Reply(_view(glass), location=f"{PREFIX}/break-glass/{glass.id}")
