"""Seventh stage: what the upstream is told. A short signed statement, for one upstream, about one caller."""

from __future__ import annotations

import msgspec

from auth.assertion import Assertions, RequestBinding
from gateway.stages.admit_once import Counted


class Asserted(msgspec.Struct, frozen=True, gc=False):
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
        now_ms = authenticated.routed.admitted.arrival.at_ms
        bind = _binding(counted) if route.bind_request else None
        return Asserted(
            counted, self._assertions.issue(principal, route.upstream, route.permission, now_ms, bind)
        )


def _binding(counted: Counted) -> RequestBinding:
    authenticated = counted.authorized.authenticated
    admitted = authenticated.routed.admitted
    # The target as the upstream will see it: that is what it can check.
    path, _, query = authenticated.routed.route.upstream_target(admitted.target).partition(b"?")
    return RequestBinding(
        request_id=admitted.arrival.request_id,
        method=admitted.arrival.method,
        path=path,
        query=query,
        body_sha256=authenticated.body_sha256,
    )
