"""Fifth stage: may it. Pure, in memory; the decision is `policies.decide`, this only brings the facts."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gateway.grants import Grant, Grants
from gateway.problems import Refusal
from gateway.sources import Address
from gateway.stages.authenticate import Authenticated
from policies.decide import Case, Reason, RequestFacts
from policies.document import Policies
from policies.principal import Principal


class Authorized(msgspec.Struct, frozen=True, gc=False):
    """What the caller was granted on this route; on a public route nothing, for nobody asks."""

    authenticated: Authenticated
    grant: Grant | None

    @property
    def principal(self) -> Principal | None:
        return None if self.grant is None else self.grant.principal


class Authorize:
    def __init__(self, policies: Policies, staleness_bound_ms: int, age_ms: Callable[[], int]) -> None:
        self._bound = staleness_bound_ms
        self._age = age_ms
        self._find_grant = Grants(policies).find

    def __call__(self, authenticated: Authenticated) -> Authorized:
        caller, routed = authenticated.caller, authenticated.routed
        if caller is None:
            return Authorized(authenticated, None)
        # By the terms, not by the route: there may be hundreds of those that ask the same.
        grant = self._find_grant(caller.key.entitlement, routed.route.terms)
        if grant.case.open:
            self._require_allowed(grant.case, routed.admitted.source.address)
        return Authorized(authenticated, grant)

    def _require_allowed(self, case: Case, source: Address) -> None:
        decision = case.decide(RequestFacts(source, self._age(), self._bound))
        if not decision.allowed:
            raise refusal_of(decision.reasons[0])


def refusal_of(reason: Reason) -> Refusal:
    members = {"permission": reason.subject} if reason.code == "permission_denied" else None
    return Refusal(reason.code, _DETAILS[reason.code].format(subject=reason.subject), members=members)


_DETAILS = {
    "environment_mismatch": "This route belongs to the {subject} environment; the key does not.",
    "source_not_allowed": "The key may not be used from {subject}.",
    "permission_denied": "The key lacks the permission {subject}.",
    "key_store_stale": "The gateway has not been able to check for revoked keys for too long; {subject} is trading.",
}
