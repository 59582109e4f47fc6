"""Authorization on the request path: every route's own requirement, whatever it is called."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import pytest

from auth.signature import VerifiedKey
from gateway import routes
from gateway.problems import Refusal
from gateway.stages.authenticate import EMPTY_SHA256, Authenticated
from gateway.stages.authorize import Authorize, refusal_of
from gateway.stages.match_route import Routed
from keys import freezes
from keys.secret import HmacKey
from policies import document
from policies.decision import Reason
from tests.support.access_tokens import World
from tests.support.served_keys import make_entitlement, make_hmac_key, make_hmac_version
from tests.support.stage_values import PUBLIC, READ, admitted

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
WRITE = msgspec.structs.replace(READ, permission="orders:write", trading=True)


def authenticated(route: routes.Route, role: str) -> Authenticated:
    key = make_hmac_key(entitlement=make_entitlement(roles=(role,)))
    return Authenticated(Routed(admitted(), route), VerifiedKey(key, 1), b"n", b"", EMPTY_SHA256)


def authorize(
    age_ms: int = 0, frozen: freezes.ServedFreezes | None = None, client_age_ms: int | None = None
) -> Authorize:
    clients_age_ms = age_ms if client_age_ms is None else client_age_ms
    return Authorize(
        POLICIES, 1_000, lambda: age_ms, lambda: clients_age_ms, frozen or freezes.ServedFreezes()
    )


def freeze(kind: freezes.Kind, name: str) -> freezes.Freeze:
    return freezes.Freeze(kind=kind, name=name, frozen_at=1, frozen_by="op", reason=None, revision=1)


def nobodys(route: routes.Route) -> Authenticated:
    return Authenticated(Routed(admitted(), route), None, None, b"", EMPTY_SHA256)


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


def test_a_stale_view_of_the_clients_refuses_trading_to_tokens_alone() -> None:
    """What ended a client or a token may be unknown by then, while keys are known as ever."""
    stage, world = authorize(client_age_ms=1_001), World()
    caller = world.verify(world.present(world.token(scope="orders:read orders:write")))
    by_token = msgspec.structs.replace(authenticated(WRITE, "trader"), caller=caller)
    assert refused(stage, by_token) == "key_store_stale"
    assert stage(msgspec.structs.replace(by_token, routed=Routed(admitted(), READ))).principal is not None
    assert stage(authenticated(WRITE, "trader")).principal is not None


@pytest.mark.parametrize(
    "code", ["environment_mismatch", "source_not_allowed", "permission_denied", "key_store_stale"]
)
def test_every_reason_is_told_with_what_it_is_about(code: Any) -> None:  # noqa: ANN401  a literal
    """In a sentence, and for a permission in a member too."""
    problem = refusal_of(Reason(code, "orders:write")).problem
    assert problem.kind.code == code
    assert "orders:write" in problem.detail
    assert (problem.members == {"permission": "orders:write"}) is (code == "permission_denied")


def test_what_is_kept_for_a_key_keeps_no_secret() -> None:
    """A key that is rotated or destroyed takes its secret with it, whatever was worked out for it."""
    secret = HmacKey(b"k")
    before = sys.getrefcount(secret)
    key = make_hmac_key(
        entitlement=make_entitlement(roles=("viewer",)), versions=(make_hmac_version(secret=secret),)
    )
    stage = authorize()
    asked = Authenticated(Routed(admitted(), READ), VerifiedKey(key, 1), b"n", b"", EMPTY_SHA256)
    assert stage(asked).principal is not None
    assert sys.getrefcount(secret) > before
    del key, asked
    assert sys.getrefcount(secret) == before


@pytest.mark.parametrize(
    ("kind", "name", "code"),
    [("environment", "paper", "environment_frozen"), ("route", "orders", "route_frozen")],
)
def test_what_is_frozen_is_refused_to_who_may_and_is_served_again(
    kind: freezes.Kind, name: str, code: str
) -> None:
    """From one request to the next, without anything being compiled anew."""
    frozen = freezes.ServedFreezes()
    stage = authorize(frozen=frozen)
    assert stage(authenticated(READ, "viewer")).principal is not None
    frozen.serve([freeze(kind, name)])
    assert refused(stage, authenticated(READ, "viewer")) == code
    frozen.serve([])
    assert stage(authenticated(READ, "viewer")).principal is not None


@pytest.mark.parametrize(
    ("kind", "name", "code"),
    [("environment", "paper", "environment_frozen"), ("route", "public", "route_frozen")],
)
def test_public_routes_are_frozen_as_well(kind: freezes.Kind, name: str, code: str) -> None:
    """Nobody has to sign there, and nobody is let through."""
    frozen = freezes.ServedFreezes()
    frozen.serve([freeze(kind, name)])
    assert refused(authorize(frozen=frozen), nobodys(PUBLIC)) == code


def test_only_who_would_be_let_through_learns_what_is_frozen() -> None:
    """Whoever lacks the permission is told that, as ever."""
    frozen = freezes.ServedFreezes()
    frozen.serve([freeze("route", "orders"), freeze("environment", "paper")])
    assert refused(authorize(frozen=frozen), authenticated(WRITE, "viewer")) == "permission_denied"


def test_of_both_the_wider_is_told() -> None:
    """An environment before a route: thawing the route alone would help nobody."""
    frozen = freezes.ServedFreezes()
    frozen.serve([freeze("route", "orders"), freeze("environment", "paper")])
    assert refused(authorize(frozen=frozen), authenticated(READ, "viewer")) == "environment_frozen"


def test_other_routes_and_the_other_environment_are_served() -> None:
    """A freeze stops what it names, and nothing beside it."""
    frozen = freezes.ServedFreezes()
    frozen.serve([freeze("route", "cancel"), freeze("environment", "live")])
    stage = authorize(frozen=frozen)
    assert stage(authenticated(READ, "viewer")).principal is not None
    assert stage(nobodys(PUBLIC)).principal is None
