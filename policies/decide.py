"""Principal + requirement + facts of the request → decision with every reason. Pure: no clock, no I/O.

Invariant: a request passes only when each criterion was met; the first reason, in the order below, is the one
answered, and all of them reach the audit line. What a principal before a requirement meets with every request is
found once, in `open_case`; each request is asked the rest.
"""

from collections.abc import Callable

import msgspec

from policies.criteria import environment, key_store, permission, source
from policies.decision import Decision, Reason, ReasonCode, RequestFacts, Requirement
from policies.principal import Principal

__all__ = [
    "Case",
    "Decision",
    "Reason",
    "ReasonCode",
    "RequestFacts",
    "Requirement",
    "decide",
    "open_case",
]

_CRITERIA = (environment, source, permission, key_store)
_ALLOWED = Decision(allowed=True, reasons=())

_FindReason = Callable[[Principal, Requirement, RequestFacts], Reason | None]


class Case(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A principal before a requirement. `open`: the criteria that a request may fail; with none, all requests pass."""

    principal: Principal
    requirement: Requirement
    open: tuple[_FindReason, ...]

    def decide(self, facts: RequestFacts) -> Decision:
        found = [criterion(self.principal, self.requirement, facts) for criterion in self.open]
        reasons = tuple([reason for reason in found if reason is not None])
        return Decision(allowed=False, reasons=reasons) if reasons else _ALLOWED


def open_case(principal: Principal, requirement: Requirement) -> Case:
    criteria = [each.find_reason for each in _CRITERIA if not each.is_always_met(principal, requirement)]
    return Case(principal, requirement, tuple(criteria))


def decide(principal: Principal, requirement: Requirement, facts: RequestFacts) -> Decision:
    return open_case(principal, requirement).decide(facts)
