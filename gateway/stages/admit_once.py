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
    Charges,
    compile_charges,
)
from auth.signature import VerifiedKey
from gateway.grants import route_buckets
from gateway.problems import Refusal
from gateway.routes import Terms
from gateway.stages.authenticate import Authenticated
from gateway.stages.authorize import Authorized

_KEPT_CHARGES_OF_STRANGERS = 4_096

# Key id, secret version, source, time.
NoteUse = Callable[[str, int, str, int], None]


class Counted(msgspec.Struct, frozen=True, gc=False):
    authorized: Authorized
    states: Admitted


class AdmitOnce:
    def __init__(self, store: AdmissionStore, used: NoteUse) -> None:
        self._admit = store.admit
        self._used = used
        # What a key is charged stands in its grant. Strangers have a cache of their own, so that a flood of addresses
        # pushes no partner out.
        self._charges_of_source = lru_cache(_KEPT_CHARGES_OF_STRANGERS)(self._compile_for_source)

    def ask(self, authorized: Authorized) -> Awaitable[Admitted]:
        """The store's own answer, to be awaited: no coroutine of ours stands in between."""
        grant, authenticated = authorized.grant, authorized.authenticated
        if grant is None:
            return self._ask_for_source(authenticated)
        charges, nonce = grant.charges, authenticated.nonce
        if nonce is None and isinstance(authenticated.caller, VerifiedKey):
            raise TypeError("whoever signed a request signed its nonce")
        if charges is None:
            # A partner whose tier has left policies.toml is not unlimited.
            raise Refusal("limiter_unavailable", "The limits of this partner are not defined.")
        admit = self._admit
        return admit(Admission(charges, nonce))

    def count(self, authorized: Authorized, states: Admitted) -> Counted:
        """Only what was admitted is a use: a captured request that is sent again tells nothing of its key."""
        authenticated = authorized.authenticated
        caller = authenticated.caller
        if caller is not None:
            admitted, used = authenticated.routed.admitted, self._used
            used(caller.key.entitlement.id, caller.version, admitted.source.text, admitted.arrival.at_ms)
        return Counted(authorized, states)

    def _ask_for_source(self, authenticated: Authenticated) -> Awaitable[Admitted]:
        if authenticated.caller is not None:
            raise TypeError("whoever is known was granted something, or refused")
        routed = authenticated.routed
        terms = routed.route.terms
        if not terms.limits:
            return _charge_nothing()
        return self._admit(Admission(self._charges_of_source(routed.admitted.source.network, terms), None))

    def _compile_for_source(self, network: str, terms: Terms) -> Charges:
        return compile_charges(f"source:{network}", tuple(route_buckets(terms)))


async def _charge_nothing() -> Admitted:
    return NOTHING_CHARGED
