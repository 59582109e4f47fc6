"""Fifth stage: may it, and is it let. Pure, in memory; the decision is `policies.decide`, this only brings the facts.

What is frozen is refused last: only who would have been let through learns that its route or environment is frozen,
and on a public route everybody would have been. Nothing is charged for it, and no nonce is taken.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from auth.bearer import VerifiedToken
from auth.signature import VerifiedKey
from gateway.grants import Grant, Grants
from gateway.problems import Refusal
from gateway.routes import Route
from gateway.sources import Address
from gateway.stages.authenticate import Authenticated
from keys.freezes import ServedFreezes
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
    def __init__(
        self,
        policies: Policies,
        staleness_bound_ms: int,
        age_ms: Callable[[], int],
        client_age_ms: Callable[[], int],
        frozen: ServedFreezes,
    ) -> None:
        self._bound = staleness_bound_ms
        self._age = age_ms
        # What a token rests on is read by others than the keys, and may be older.
        self._client_age = client_age_ms
        self._frozen = frozen
        self._find_grant = Grants(policies).find

    def __call__(self, authenticated: Authenticated) -> Authorized:
        caller, routed = authenticated.caller, authenticated.routed
        grant: Grant | None = None
        if caller is not None:
            # By the terms, not by the route: there may be hundreds of those that ask the same.
            find_grant = self._find_grant
            grant = find_grant(caller.key.entitlement, routed.route.terms)
            if grant.open:
                self._require_allowed(grant.case, routed.admitted.source.address, caller)
        if self._frozen.active:
            self._require_unfrozen(routed.route)
        return Authorized(authenticated, grant)

    def _require_allowed(self, case: Case, source: Address, caller: VerifiedKey | VerifiedToken) -> None:
        age_ms = self._age() if type(caller) is VerifiedKey else self._client_age()
        decision = case.decide(RequestFacts(source, age_ms, self._bound))
        if not decision.allowed:
            raise refusal_of(decision.reasons[0], caller)

    def _require_unfrozen(self, route: Route) -> None:
        found = self._frozen.find(route.name, route.environment)
        if found == "environment":
            raise Refusal("environment_frozen", f"The {route.environment} environment is frozen.")
        if found == "route":
            raise Refusal("route_frozen", "This route is frozen.")


def refusal_of(reason: Reason, caller: VerifiedKey | VerifiedToken | None = None) -> Refusal:
    detail = _DETAILS[reason.code].format(subject=reason.subject)
    if reason.code != "permission_denied":
        return Refusal(reason.code, detail)
    challenges: tuple[str, ...] = ()
    if isinstance(caller, VerifiedToken):
        # As RFC 6750 has it: another token of the same client may do, one with this scope.
        asked = f'error="insufficient_scope", scope="{reason.subject}"'
        challenges = (f"{caller.presented.scheme} {asked}",)
    return Refusal(reason.code, detail, members={"permission": reason.subject}, challenges=challenges)


_DETAILS = {
    "environment_mismatch": "This route belongs to the {subject} environment; the key does not.",
    "source_not_allowed": "The key may not be used from {subject}.",
    "permission_denied": "The key lacks the permission {subject}.",
    "key_store_stale": "The gateway has not been able to check for revoked keys for too long; {subject} is trading.",
}
