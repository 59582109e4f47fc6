"""Fifth stage: may it. Pure, in memory; the decision is `policies.decide`, this only brings the facts."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import msgspec

from gateway.problems import Refusal
from gateway.sources import Address
from gateway.stages.authenticate import Authenticated
from keys.served import Entitlement
from policies.decide import Case, Reason, RequestFacts, Requirement, open_case
from policies.document import Policies
from policies.principal import Principal

_KEPT_CASES = 16_384


class Authorized(msgspec.Struct, frozen=True, gc=False):
    authenticated: Authenticated
    principal: Principal | None


class Authorize:
    def __init__(self, policies: Policies, staleness_bound_ms: int, age_ms: Callable[[], int]) -> None:
        self._policies = policies
        self._bound = staleness_bound_ms
        self._age = age_ms
        self._principal_of = lru_cache(_KEPT_CASES)(self._find_principal)
        self._case_of = lru_cache(_KEPT_CASES)(self._open_case)

    def __call__(self, authenticated: Authenticated) -> Authorized:
        caller, routed = authenticated.caller, authenticated.routed
        if caller is None:
            return Authorized(authenticated, None)
        # By what is asked, not by the route: there may be hundreds of those that ask the same.
        case = self._case_of(caller.key.entitlement, routed.route.requirement)
        if case.open:
            self._require_allowed(case, routed.admitted.source.address)
        return Authorized(authenticated, case.principal)

    def _require_allowed(self, case: Case, source: Address) -> None:
        decision = case.decide(RequestFacts(source, self._age(), self._bound))
        if not decision.allowed:
            raise refusal_of(decision.reasons[0])

    def _open_case(self, entitlement: Entitlement, requirement: Requirement) -> Case:
        return open_case(self._principal_of(entitlement), requirement)

    def _find_principal(self, entitlement: Entitlement) -> Principal:
        return Principal(
            partner=entitlement.partner,
            credential=entitlement.id,
            environment=entitlement.environment,
            tier=entitlement.tier,
            roles=entitlement.roles,
            permissions=self._policies.permissions_of(entitlement.roles, entitlement.permissions),
            networks=entitlement.networks,
        )


def refusal_of(reason: Reason) -> Refusal:
    members = {"permission": reason.subject} if reason.code == "permission_denied" else None
    return Refusal(reason.code, _DETAILS[reason.code].format(subject=reason.subject), members=members)


_DETAILS = {
    "environment_mismatch": "This route belongs to the {subject} environment; the key does not.",
    "source_not_allowed": "The key may not be used from {subject}.",
    "permission_denied": "The key lacks the permission {subject}.",
    "key_store_stale": "The gateway has not been able to check for revoked keys for too long; {subject} is trading.",
}
