"""A credential of one environment is good for nothing in another."""

from policies.decision import Reason, RequestFacts, Requirement
from policies.principal import Principal


def is_always_met(principal: Principal, requirement: Requirement) -> bool:
    return requirement.environment is None or principal.environment == requirement.environment


def find_reason(principal: Principal, requirement: Requirement, _facts: RequestFacts) -> Reason | None:
    if requirement.environment is None or is_always_met(principal, requirement):
        return None
    return Reason(code="environment_mismatch", subject=requirement.environment)
