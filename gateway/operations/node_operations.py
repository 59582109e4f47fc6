"""The nodes, and how far a change has come: the same for the command line and the control surface.

Invariant: a revision that has not been committed has no receipt, so none is made up for it. What nodes there are is
for operators who reach all partners.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

from gateway import spread
from gateway.operations.operator import Operator
from keys import refusals
from policies import control


class UnknownRevision(refusals.NotFound):
    def __init__(self, revision: int) -> None:
        super().__init__(f"no change has been committed as revision {revision}")


class NodeOperations:
    def __init__(self, engine_: AsyncEngine, lost_after_ms: int) -> None:
        self._engine = engine_
        self._lost_after_ms = lost_after_ms

    async def follow(self, by: Operator, revision: int | None = None) -> spread.Spread:
        """Every node before this revision, or before the current one."""
        by.require(control.NODES_READ)
        by.require(control.ALL_PARTNERS)
        seen = await spread.read(self._engine, self._lost_after_ms, revision)
        if revision is not None and not 0 < revision <= seen.latest:
            raise UnknownRevision(revision)
        return seen
