"""Fifth stage: may it. Pure, in memory; the decision is `policies.decide`, this only brings the facts."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from auth.signature import VerifiedKey
from gateway.problems import Refusal
from gateway.routes import Route
from gateway.stages.authenticate import Authenticated
from policies.decide import Reason, RequestFacts, Requirement, decide
from policies.document import Policies
from policies.principal import Principal


class Authorized(msgspec.Struct, frozen=True):
    authenticated: Authenticated
    principal: Principal | None


class Authorize:
    def __init__(self, policies: Policies, staleness_bound_ms: int, age_ms: Callable[[], int]) -> None:
        self._policies = policies
        self._bound = staleness_bound_ms
        self._age = age_ms

    def __call__(self, authenticated: Authenticated) -> Authorized:
        if authenticated.caller is None:
            return Authorized(authenticated, None)
        admitted = authenticated.routed.admitted
        principal = self._principal(authenticated.caller)
        facts = RequestFacts(
            source=admitted.source.address,
            directory_age_ms=self._age(),
            staleness_bound_ms=self._bound,
        )
        decision = decide(principal, _requirement(authenticated.routed.route), facts)
        if not decision.allowed:
            raise refusal_of(decision.reasons[0])
        return Authorized(authenticated, principal)

    def _principal(self, caller: VerifiedKey) -> Principal:
        key = caller.key
        return Principal(
            partner=key.partner,
            credential=key.id,
            environment=key.environment,
            tier=key.tier,
            roles=key.roles,
            permissions=self._policies.permissions_of(key.roles, key.permissions),
            networks=key.networks,
        )


def _requirement(route: Route) -> Requirement:
    return Requirement(permission=route.permission, environment=route.environment, trading=route.trading)


def refusal_of(reason: Reason) -> Refusal:
    members = {"permission": reason.subject} if reason.code == "permission_denied" else None
    return Refusal(reason.code, _DETAILS[reason.code].format(subject=reason.subject), members=members)


_DETAILS = {
    "environment_mismatch": "This route belongs to the {subject} environment; the key does not.",
    "source_not_allowed": "The key may not be used from {subject}.",
    "permission_denied": "The key lacks the permission {subject}.",
    "key_store_stale": "The gateway has not been able to check for revoked keys for too long; {subject} is trading.",
}
