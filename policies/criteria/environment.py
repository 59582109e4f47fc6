"""A credential of one environment is good for nothing in another."""

from policies.decision import Reason, RequestFacts, Requirement
from policies.principal import Principal


def find_reason(principal: Principal, requirement: Requirement, _facts: RequestFacts) -> Reason | None:
    if requirement.environment is None or principal.environment == requirement.environment:
        return None
    return Reason(code="environment_mismatch", subject=requirement.environment)
