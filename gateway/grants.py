"""What a key comes to under the terms of a route: may it, what is it charged, and what is its upstream told.

All of it follows from the configuration and the key's entitlement, so it is worked out once and found at once with
each request. Invariant: a grant is kept by the entitlement and by the terms, both told apart by identity, so a key that
changes in any way gets another one; nothing in it keeps a secret alive, and nothing of one request is in it. Bounded in
number: what was let go is worked out again. The one that a key had last lies with its entitlement.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from auth.admission import Bucket, Charges, compile_charges
from auth.assertion import Statement, state
from gateway.routes import Terms
from keys.served import Entitlement
from policies.decide import Case, open_case
from policies.document import Policies
from policies.gcra import Limit
from policies.principal import Principal

# A key has one for each terms it meets, and most keys meet few: this is for ten thousand keys in use, three terms each.
_MOST_KEPT = 32_768
# What does not depend on all of the terms is shared by the grants of a key.
_MOST_SHARED = 16_384


class Grant(msgspec.Struct, frozen=True, eq=False, gc=False):
    # What it was worked out from, beside the entitlement.
    policies: Policies
    terms: Terms
    case: Case
    # Those of the case, at hand: ordinarily there are none, and then the case is not looked at.
    open: tuple[object, ...]
    # None: the partner's tier has left the policies, so what its limits are is not known.
    charges: Charges | None
    # None: the route asks for no permission, so its upstream is told of no caller.
    statement: Statement | None

    @property
    def principal(self) -> Principal:
        return self.case.principal


class Grants:
    def __init__(self, policies: Policies) -> None:
        self._policies = policies
        self._principal_of = lru_cache(_MOST_SHARED)(self._find_principal)
        self._charges_of = lru_cache(_MOST_SHARED)(self._compile_charges)
        self._find_kept = lru_cache(_MOST_KEPT)(self._work_out)

    def find(self, entitlement: Entitlement, terms: Terms) -> Grant:
        held = entitlement.place.held
        if type(held) is Grant and held.terms is terms and held.policies is self._policies:
            return held
        grant = entitlement.place.held = self._find_kept(entitlement, terms)
        return grant

    def _work_out(self, entitlement: Entitlement, terms: Terms) -> Grant:
        principal, permission = self._principal_of(entitlement), terms.requirement.permission
        case = open_case(principal, terms.requirement)
        return Grant(
            policies=self._policies,
            terms=terms,
            case=case,
            open=case.open,
            # Most routes have no limits of their own, and all those of one cost charge a key alike.
            charges=self._charges_of(entitlement, terms if terms.limits else terms.cost),
            statement=None if permission is None else state(principal, terms.upstream, permission),
        )

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

    def _compile_charges(self, entitlement: Entitlement, charged: Terms | int) -> Charges | None:
        tier = self._policies.tiers.get(entitlement.tier)
        if tier is None:
            return None
        cost = charged if isinstance(charged, int) else charged.cost
        buckets = [
            *_bucket(f"key:{entitlement.id}", tier.key, cost),
            # Paper and live never share a limit: a paper load test must not slow live trading.
            *_bucket(f"partner:{entitlement.environment}", tier.partner, cost),
        ]
        if isinstance(charged, Terms):
            buckets += route_buckets(charged)
        return compile_charges(entitlement.partner, tuple(buckets), holder=entitlement.id)


def route_buckets(terms: Terms) -> list[Bucket]:
    return [Bucket(f"route:{terms.limited}:{limit.name}", limit, terms.cost) for limit in terms.limits]


def _bucket(key: str, limit: Limit | None, cost: int) -> list[Bucket]:
    return [] if limit is None else [Bucket(key, limit, cost)]
