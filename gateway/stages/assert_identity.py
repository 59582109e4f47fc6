"""Seventh stage: what the upstream is told. A short signed statement, for one upstream, about one caller."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from auth.assertion import Assertions, RequestBinding
from gateway.stages.admit_once import Counted


class Asserted(msgspec.Struct, frozen=True):
    counted: Counted
    assertion: str | None


class AssertIdentity:
    def __init__(self, assertions: Assertions) -> None:
        self._assertions = assertions

    def __call__(self, counted: Counted) -> Asserted:
        authenticated = counted.authorized.authenticated
        principal, route = counted.authorized.principal, authenticated.routed.route
        if principal is None or route.permission is None:
            return Asserted(counted, None)
        assertion = self._assertions.issue(principal, route.upstream, route.permission, _binding(counted))
        return Asserted(counted, assertion)


def _binding(counted: Counted) -> RequestBinding | None:
    authenticated = counted.authorized.authenticated
    if not authenticated.routed.route.bind_request:
        return None
    admitted = authenticated.routed.admitted
    return RequestBinding(
        request_id=admitted.arrival.request_id,
        method=admitted.arrival.method,
        target_sha256=sha256(authenticated.routed.route.upstream_target(admitted.target)).hexdigest(),
        body_sha256=authenticated.body_sha256,
    )
