"""The required permission must be among those the principal holds; what nobody granted, nobody holds."""

from policies.decision import Reason, RequestFacts, Requirement
from policies.principal import Principal


def is_always_met(principal: Principal, requirement: Requirement) -> bool:
    return requirement.permission is None or requirement.permission in principal.permissions


def find_reason(principal: Principal, requirement: Requirement, _facts: RequestFacts) -> Reason | None:
    if requirement.permission is None or is_always_met(principal, requirement):
        return None
    return Reason(code="permission_denied", subject=requirement.permission)
