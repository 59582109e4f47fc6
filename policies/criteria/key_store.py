"""Trading needs a recent view of the keys: one that may have been revoked meanwhile must not trade on.

Invariant: past the bound no trading permission passes; reading goes on, so that an outage of the database does not
blind partners. An age below zero comes from a check that ended after the request took its time, or from a clock
that stepped back: as far as the bound it is taken for fresh, beyond it proves nothing.
"""

from policies.decision import Reason, RequestFacts, Requirement
from policies.principal import Principal


def is_always_met(_principal: Principal, requirement: Requirement) -> bool:
    return not requirement.trading


def find_reason(principal: Principal, requirement: Requirement, facts: RequestFacts) -> Reason | None:
    if is_always_met(principal, requirement) or abs(facts.directory_age_ms) <= facts.staleness_bound_ms:
        return None
    return Reason(code="key_store_stale", subject=requirement.permission or "this route")
