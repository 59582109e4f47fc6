"""The kill switch for routes and environments, the same for the command line and the control surface.

Invariant: only a route that is configured is frozen, because a misspelt name would stop nothing; thawed is whatever is
frozen, also a route that has left the configuration, and that takes two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from gateway.operations.gate import Gate, Standing
from gateway.operations.operator import Operator
from keys import refusals
from keys.changes import Author
from keys.freezes import Freeze, Freezes, NotFrozen
from policies import control

Kind = Literal["route", "environment"]
# The environment that a route belongs to; raises for a route that is not configured.
FindEnvironment = Callable[[str], str]


class UnknownFreeze(refusals.NotFound):
    """There is nothing to look at: what works has no freeze."""

    def __init__(self, kind: Kind, name: str) -> None:
        super().__init__(f"there is no freeze of the {kind} {name!r:.80}")


class FreezeOperations:
    def __init__(self, freezes: Freezes, gate: Gate, find_environment: FindEnvironment) -> None:
        self._freezes = freezes
        self._gate = gate
        self._find_environment = find_environment

    async def find_all(self, by: Operator) -> tuple[Freeze, ...]:
        """Everything that is frozen: environments, routes, partners, keys."""
        by.require(control.FREEZES_READ)
        by.require(control.ALL_PARTNERS)
        return tuple(await self._freezes.list_all())

    async def get(self, by: Operator, kind: Kind, name: str) -> Freeze:
        by.require(control.FREEZES_READ)
        by.require(control.ALL_PARTNERS)
        for each in await self._freezes.list():
            if (each.kind, each.name) == (kind, name):
                return each
        raise UnknownFreeze(kind, name)

    async def freeze(self, by: Operator, kind: Kind, name: str, *, reason: str | None = None) -> Freeze:
        by.require(control.FREEZE)
        by.require(control.ALL_PARTNERS)
        environment = self._find_environment(name) if kind == "route" else name
        by.require_environment(environment)
        author = await self._pass(by, "freeze", kind, name, environment, reason)
        if kind == "route":
            return await self._freezes.freeze_route(name, author=author)
        return await self._freezes.freeze_environment(name, author=author)

    async def unfreeze(self, by: Operator, kind: Kind, name: str, *, reason: str | None = None) -> Freeze:
        by.require(control.UNFREEZE)
        by.require(control.ALL_PARTNERS)
        # A route that has left the configuration may have been anybody's.
        by.require_environment("service" if kind == "route" else name)
        author = await self._pass(by, "unfreeze", kind, name, None if kind == "route" else name, reason)
        if kind == "route":
            return await self._freezes.unfreeze_route(name, author=author)
        return await self._freezes.unfreeze_environment(name, author=author)

    async def _pass(  # noqa: PLR0913, PLR0917  what an act is
        self, by: Operator, verb: str, kind: Kind, name: str, environment: str | None, reason: str | None
    ) -> Author:
        known = [each for each in await self._freezes.list() if (each.kind, each.name) == (kind, name)]
        if verb == "unfreeze" and not known:
            # Nobody is asked to approve what could not be done.
            raise NotFrozen(kind, name)
        return await self._gate.pass_(
            by,
            action=f"{kind}.{verb}",
            subject=name,
            environment=environment,
            standing=Standing(kind, name, known[0].revision if known else 0),
            reason=reason,
        )
