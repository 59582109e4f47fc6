"""Seventh stage: what the upstream is told. A short signed statement, for one upstream, about one caller."""

from __future__ import annotations

import msgspec

from auth.assertion import Assertions, RequestBinding
from gateway.stages.admit_once import Counted
from gateway.stages.authenticate import Authenticated


class Asserted(msgspec.Struct, frozen=True, gc=False):
    counted: Counted
    assertion: str | None


class AssertIdentity:
    def __init__(self, assertions: Assertions) -> None:
        self._assertions = assertions

    def __call__(self, counted: Counted) -> Asserted:
        authorized = counted.authorized
        routed = authorized.authenticated.routed
        principal, route = authorized.principal, routed.route
        if principal is None or route.permission is None:
            return Asserted(counted, None)
        issue, at_ms = self._assertions.issue, routed.admitted.arrival.at_ms
        if route.bind_request:
            bind = _binding(authorized.authenticated)
            return Asserted(counted, issue(principal, route.upstream, route.permission, at_ms, bind))
        return Asserted(counted, issue(principal, route.upstream, route.permission, at_ms))


def _binding(authenticated: Authenticated) -> RequestBinding:
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
