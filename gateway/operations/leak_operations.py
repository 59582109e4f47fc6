"""Reporting found credentials, the same for the command line, the control surface and outside scanners."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.operations.operator import Operator
from keys.leaks import Leaks, SignedReport, Suspect, Verdict
from policies import control

_REAL_ELSEWHERE = Verdict("frozen")


class LeakOperations:
    def __init__(self, leaks: Leaks) -> None:
        self._leaks = leaks

    async def report(
        self,
        by: Operator,
        suspects: Sequence[Suspect],
        *,
        reason: str | None = None,
        signed: SignedReport | None = None,
    ) -> list[Verdict]:
        """Whoever holds a secret may have it frozen; whose it is, is told to those who reach its partner. `signed`: of
        a report that nothing but this keeps from being sent again.
        """
        by.require(control.LEAKS_REPORT)
        verdicts = await self._leaks.report(suspects, author=by.author(reason), signed=signed)
        return [
            each if not each.is_real or by.reaches(each.partner) else _REAL_ELSEWHERE for each in verdicts
        ]
