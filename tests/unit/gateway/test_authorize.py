"""Authorization on the request path: every route's own requirement, whatever it is called."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import msgspec
import pytest

from auth.signature import VerifiedKey
from gateway import headers, paths, routes
from gateway.arrival import Arrival
from gateway.problems import Refusal
from gateway.stages.admit import Admitted
from gateway.stages.authenticate import EMPTY_SHA256, Authenticated
from gateway.stages.authorize import Authorize, refusal_of
from gateway.stages.match_route import Routed
from gateway.trace import Trace
from gateway.upstream import Timeouts
from keys.served import ServedKey
from policies import document
from policies.decision import Reason

POLICIES = document.parse(
    b"""
[permissions."orders:read"]
description = "Read."
[permissions."orders:write"]
description = "Write."
trading = true
[roles.viewer]
permissions = ["orders:read"]
[roles.trader]
permissions = ["orders:read", "orders:write"]
""",
    "policies.toml",
)
READ = routes.Route(
    name="orders",
    pattern="/a",
    methods=("GET",),
    environment="paper",
    upstream="paper",
    permission="orders:read",
    trading=False,
    timeouts=Timeouts(),
)
WRITE = msgspec.structs.replace(READ, permission="orders:write", trading=True)


async def nothing() -> dict[str, Any]:
    return {"type": "http.disconnect"}


def authenticated(route: routes.Route, role: str, environment: Any = "paper") -> Authenticated:  # noqa: ANN401  a literal
    received = [(b"host", b"x")]
    arrival = Arrival(
        request_id="r",
        at_ms=0,
        method="GET",
        target=b"/a",
        headers=received,
        peer="203.0.113.9",
        scheme="http",
        http_version="1.1",
        oversized=None,
        receive=nothing,
        trace=Trace("r", "GET"),
    )
    source = ip_address("203.0.113.9")
    admitted = Admitted(
        arrival, paths.canonical_target(b"/a"), headers.read(received), source, via_proxy=False
    )
    key = ServedKey(
        id="k",
        partner="acme",
        tier="standard",
        environment=environment,
        algorithm="hmac-sha256",
        roles=(role,),
        permissions=None,
        networks=(),
        expires_at=None,
        frozen=False,
        revoked=False,
        partner_frozen=False,
        versions=(),
        revision=1,
    )
    return Authenticated(Routed(admitted, route), VerifiedKey(key, 1), "n", b"", EMPTY_SHA256)


def authorize(age_ms: int = 0) -> Authorize:
    return Authorize(POLICIES, 1_000, lambda _now_ms: age_ms)


def refused(stage: Authorize, asked: Authenticated) -> str:
    with pytest.raises(Refusal) as refusal:
        stage(asked)
    return refusal.value.problem.kind.code


def test_two_routes_of_one_name_are_still_two_routes() -> None:
    """What one of them requires says nothing of the other."""
    stage = authorize()
    assert stage(authenticated(READ, "viewer")).principal is not None
    assert refused(stage, authenticated(WRITE, "viewer")) == "permission_denied"
    assert refused(stage, authenticated(msgspec.structs.replace(READ, environment="live"), "viewer")) == (
        "environment_mismatch"
    )


def test_a_stale_view_of_the_keys_refuses_trading_and_serves_reads() -> None:
    """As declared by the bound."""
    stage = authorize(age_ms=1_001)
    assert refused(stage, authenticated(WRITE, "trader")) == "key_store_stale"
    assert stage(authenticated(READ, "trader")).principal is not None


@pytest.mark.parametrize(
    "code", ["environment_mismatch", "source_not_allowed", "permission_denied", "key_store_stale"]
)
def test_every_reason_is_told_with_what_it_is_about(code: Any) -> None:  # noqa: ANN401  a literal
    """In a sentence, and for a permission in a member too."""
    problem = refusal_of(Reason(code, "orders:write")).problem
    assert problem.kind.code == code
    assert "orders:write" in problem.detail
    assert (problem.members == {"permission": "orders:write"}) is (code == "permission_denied")
