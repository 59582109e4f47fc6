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
        self._issue = assertions.issue

    def __call__(self, counted: Counted) -> Asserted:
        authorized = counted.authorized
        grant, routed = authorized.grant, authorized.authenticated.routed
        if grant is None or grant.statement is None:
            return Asserted(counted, None)
        bind = _binding(authorized.authenticated) if routed.route.bind_request else None
        issue = self._issue
        return Asserted(counted, issue(grant.statement, routed.admitted.arrival.at_ms, bind))


def _binding(authenticated: Authenticated) -> RequestBinding:
    admitted = authenticated.routed.admitted
    # The target as the upstream will see it: that is what it can check.
    path, _, query = authenticated.routed.route.upstream_target(admitted.target).partition(b"?")
    return RequestBinding(
        request_id=admitted.arrival.request_id,
        method=admitted.arrival.method,
        path=path,
        query=query,
        body_sha256=authenticated.body_sha256.decode("ascii"),
    )
