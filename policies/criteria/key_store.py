"""Keys may be served from memory only so long after the store last confirmed them.

Past the bound nothing passes, reading included: a key revoked meanwhile would go on working for as long as
this node stays cut off. An age below zero comes from a check that ended after the request took its time, or
from a clock that stepped back: as far as the bound it is taken for fresh, beyond it proves nothing.
"""

from policies.decision import Reason, RequestFacts, Requirement
from policies.principal import Principal


def find_reason(_principal: Principal, _requirement: Requirement, facts: RequestFacts) -> Reason | None:
    if abs(facts.directory_age_ms) <= facts.staleness_bound_ms:
        return None
    return Reason(code="key_store_stale", subject=f"{facts.directory_age_ms} ms")
