"""Sixth stage: once, and within every limit. The one round trip to the store that a request makes.

After the signature, so that strangers can burn nobody's nonces; atomic, so that one of two copies passes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache

import msgspec

from auth.admission import (
    NOTHING_CHARGED,
    Admission,
    AdmissionStore,
    Admitted,
    Bucket,
    Charges,
    compile_charges,
)
from gateway.problems import Refusal
from gateway.routes import Route
from gateway.stages.authorize import Authorized
from keys.served import Entitlement
from policies.document import Policies
from policies.gcra import Limit

_KEPT_CHARGES = 16_384
_KEPT_CHARGES_OF_STRANGERS = 4_096

# Key id, secret version, source, time.
NoteUse = Callable[[str, int, str, int], None]


class Counted(msgspec.Struct, frozen=True, gc=False):
    authorized: Authorized
    states: Admitted


class AdmitOnce:
    def __init__(self, store: AdmissionStore, policies: Policies, used: NoteUse) -> None:
        self._store = store
        self._policies = policies
        self._used = used
        # What a key or a source is charged is the same every time. Strangers have a cache of their own, so that a
        # flood of addresses pushes no partner out.
        self._charges_of_key = lru_cache(_KEPT_CHARGES)(self._compile_for_key)
        self._charges_of_source = lru_cache(_KEPT_CHARGES_OF_STRANGERS)(self._compile_for_source)

    def ask(self, authorized: Authorized) -> Awaitable[Admitted]:
        """The store's own answer, to be awaited: no coroutine of ours stands in between."""
        authenticated = authorized.authenticated
        caller, nonce, route = authenticated.caller, authenticated.nonce, authenticated.routed.route
        if caller is None:
            return self._ask_for_source(authenticated.routed.admitted.source.network, route)
        if nonce is None:
            raise TypeError("whoever signed a request signed its nonce")
        # Most routes have no limits of their own, and all those of one cost charge a key alike.
        charges = self._charges_of_key(caller.key.entitlement, route if route.limits else route.cost)
        return self._store.admit(Admission(charges, nonce))

    def count(self, authorized: Authorized, states: Admitted) -> Counted:
        """Only what was admitted is a use: a captured request that is sent again tells nothing of its key."""
        authenticated = authorized.authenticated
        caller = authenticated.caller
        if caller is not None:
            admitted = authenticated.routed.admitted
            self._used(caller.key.id, caller.version, admitted.source.text, admitted.arrival.at_ms)
        return Counted(authorized, states)

    def _ask_for_source(self, network: str, route: Route) -> Awaitable[Admitted]:
        if not route.limits:
            return _charge_nothing()
        return self._store.admit(Admission(self._charges_of_source(network, route), None))

    def _compile_for_key(self, entitlement: Entitlement, charged: Route | int) -> Charges:
        tier = self._policies.tiers.get(entitlement.tier)
        if tier is None:
            # A partner whose tier has left policies.toml is not unlimited.
            raise Refusal("limiter_unavailable", "The limits of this partner are not defined.")
        cost = charged if isinstance(charged, int) else charged.cost
        buckets = [
            *_bucket(f"key:{entitlement.id}", tier.key, cost),
            # Paper and live never share a limit: a paper load test must not slow live trading.
            *_bucket(f"partner:{entitlement.environment}", tier.partner, cost),
        ]
        if isinstance(charged, Route):
            buckets += _route_buckets(charged)
        return compile_charges(entitlement.partner, tuple(buckets), holder=entitlement.id)

    def _compile_for_source(self, network: str, route: Route) -> Charges:
        return compile_charges(f"source:{network}", tuple(_route_buckets(route)))


async def _charge_nothing() -> Admitted:
    return NOTHING_CHARGED


def _bucket(key: str, limit: Limit | None, cost: int) -> list[Bucket]:
    return [] if limit is None else [Bucket(key, limit, cost)]


def _route_buckets(route: Route) -> list[Bucket]:
    return [Bucket(f"route:{route.name}:{limit.name}", limit, route.cost) for limit in route.limits]
