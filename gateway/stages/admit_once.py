"""Sixth stage: once, and within every limit. The one round trip to the store that a request makes.

After the signature, so that strangers can burn nobody's nonces; atomic, so that one of two copies passes.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from auth.admission import Admission, AdmissionStore, Admitted, Bucket
from gateway.problems import Refusal
from gateway.stages.authorize import Authorized
from policies.document import Policies, Tier
from policies.gcra import Limit

# Key id, secret version, source, time.
NoteUse = Callable[[str, int, str, int], None]


class Counted(msgspec.Struct, frozen=True):
    authorized: Authorized
    states: Admitted


class AdmitOnce:
    def __init__(self, store: AdmissionStore, policies: Policies, used: NoteUse) -> None:
        self._store = store
        self._policies = policies
        self._used = used

    async def __call__(self, authorized: Authorized) -> Counted:
        admission = self._admission(authorized)
        if admission.nonce is None and not admission.buckets:
            return Counted(authorized, Admitted(()))
        states = await self._store.admit(admission)
        self._note_use(authorized)
        return Counted(authorized, states)

    def _note_use(self, authorized: Authorized) -> None:
        """Only what was admitted is a use: a captured request that is sent again tells nothing of its key."""
        caller = authorized.authenticated.caller
        if caller is not None:
            admitted = authorized.authenticated.routed.admitted
            self._used(caller.key.id, caller.version, admitted.source.text, admitted.arrival.at_ms)

    def _admission(self, authorized: Authorized) -> Admission:
        route = authorized.authenticated.routed.route
        principal = authorized.principal
        if principal is None:
            source = authorized.authenticated.routed.admitted.source
            return Admission(
                f"source:{source.network}", None, _route_buckets(route.name, route.limits, route.cost)
            )
        tier = self._tier(principal.tier)
        buckets = (
            *_bucket(f"key:{principal.credential}", tier.key, route.cost),
            # Paper and live never share a limit: a paper load test must not slow live trading.
            *_bucket(f"partner:{principal.environment}", tier.partner, route.cost),
            *_route_buckets(route.name, route.limits, route.cost),
        )
        nonce = f"{principal.credential}:{authorized.authenticated.nonce}"
        return Admission(principal.partner, nonce, buckets)

    def _tier(self, name: str) -> Tier:
        tier = self._policies.tiers.get(name)
        if tier is None:
            # A partner whose tier has left policies.toml is not unlimited.
            raise Refusal("limiter_unavailable", "The limits of this partner are not defined.")
        return tier


def _bucket(key: str, limit: Limit | None, cost: int) -> tuple[Bucket, ...]:
    return () if limit is None else (Bucket(key, limit, cost),)


def _route_buckets(name: str, limits: tuple[Limit, ...], cost: int) -> tuple[Bucket, ...]:
    return tuple(Bucket(f"route:{name}:{limit.name}", limit, cost) for limit in limits)
