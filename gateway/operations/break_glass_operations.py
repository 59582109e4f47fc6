"""Opening and closing break-glass, the same for the command line and the control surface.

Invariant: only operators of the gateway itself open it, for no longer than the policies say. Any of them may close it.
"""

from __future__ import annotations

from gateway.operations.gate import Gate
from gateway.operations.operator import Operator
from keys import refusals
from keys.break_glass import BreakGlass, Glass, ReasonMissing
from policies import control
from policies.document import Policies

ACTION = "break-glass"


class TooLong(refusals.InvalidRequest):
    field = "length_ms"

    def __init__(self, longest_ms: int) -> None:
        super().__init__(
            f"break-glass is open for more than nothing and at most {longest_ms // 60_000} minutes"
        )


class BreakGlassOperations:
    def __init__(self, break_glass: BreakGlass, gate: Gate, policies: Policies) -> None:
        self._break_glass = break_glass
        self._gate = gate
        self._policies = policies

    async def open(self, by: Operator, length_ms: int, *, reason: str | None) -> Glass:
        self._require_operator(by)
        if reason is None:
            raise ReasonMissing
        longest_ms = self._policies.approvals.longest_break_glass_ms
        if not 0 < length_ms <= longest_ms:
            raise TooLong(longest_ms)
        author = await self._gate.pass_(
            by, action=ACTION, subject=by.actor, change={"length_ms": length_ms}, reason=reason
        )
        return await self._break_glass.open(length_ms, author=author)

    async def close(
        self, by: Operator, glass_id: str | None = None, *, reason: str | None = None
    ) -> tuple[Glass, ...]:
        """One, or all of one's own; closing makes nothing possible, so it passes no gate."""
        self._require_operator(by)
        if glass_id is not None:
            return (await self._break_glass.close(glass_id, author=by.author(reason)),)
        own = await self._break_glass.find_own(by.actor)
        return () if own is None else (await self._break_glass.close(own.id, author=by.author(reason)),)

    async def find_all_open(self, by: Operator) -> list[Glass]:
        self._require_reader(by)
        return await self._break_glass.find_all_open()

    async def get(self, by: Operator, glass_id: str) -> Glass:
        """Whether it is open or not."""
        self._require_reader(by)
        return await self._break_glass.get(glass_id)

    @staticmethod
    def _require_reader(by: Operator) -> None:
        by.require(control.APPROVALS_READ)
        by.require(control.ALL_PARTNERS)

    @staticmethod
    def _require_operator(by: Operator) -> None:
        by.require(control.BREAK_GLASS)
        by.require(control.ALL_PARTNERS)
        by.require_environment("service")
