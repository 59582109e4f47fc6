"""Principal + requirement + facts of the request → decision with every reason. Pure: no clock, no I/O.

Invariant: a request passes only when each criterion was met; the first reason, in the order below, is the one
answered, and all of them reach the audit line.
"""

from policies.criteria import environment, key_store, permission, source
from policies.decision import Decision, Reason, ReasonCode, RequestFacts, Requirement
from policies.principal import Principal

__all__ = ["Decision", "Reason", "ReasonCode", "RequestFacts", "Requirement", "decide"]

_CRITERIA = (
    environment.find_reason,
    source.find_reason,
    permission.find_reason,
    key_store.find_reason,
)
_ALLOWED = Decision(allowed=True, reasons=())


def decide(principal: Principal, requirement: Requirement, facts: RequestFacts) -> Decision:
    found = (criterion(principal, requirement, facts) for criterion in _CRITERIA)
    reasons = tuple(reason for reason in found if reason is not None)
    return Decision(allowed=False, reasons=reasons) if reasons else _ALLOWED
