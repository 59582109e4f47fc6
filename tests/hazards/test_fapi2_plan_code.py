"""Modules of the FAPI 2.0 conformance plan about codes and refresh tokens at the token endpoint."""

from __future__ import annotations

import pytest

from tests.support import jose_by_hand as jose
from tests.support import rawhttp
from tests.support.browser import Browser
from tests.support.gateway import Node, wait_until
from tests.support.oauth_flow import Flow
from tests.support.oauth_sites import LATE_S, Site, base_of
from tests.support.oauth_wire import HandClient, error, issued

ROUTE = "/paper/v1/orders"


@pytest.fixture
def flow(oauth_shared: Site) -> Flow:
    return Flow(oauth_shared.client("first"))


@pytest.fixture
def person(oauth_shared: Site) -> Browser:
    return oauth_shared.signed_in()


def test_ensure_pkce_code_verifier_required(flow: Flow, person: Browser) -> None:
    """A code without its verifier is nothing."""
    assert error(flow.redeem(flow.code(person), {"code_verifier": None})) == "invalid_grant"


def test_incorrect_pkce_code_verifier_rejected(flow: Flow, person: Browser) -> None:
    """Nor is one with somebody else's."""
    other = jose.fresh() + jose.fresh()
    assert error(flow.redeem(flow.code(person), {"code_verifier": other})) == "invalid_grant"


def test_ensure_authorization_code_is_bound_to_client(
    flow: Flow, person: Browser, oauth_shared: Site
) -> None:
    """Another client cannot redeem it, not even with everything but its identity."""
    code = flow.code(person)
    thief = oauth_shared.client("second")
    assert error(flow.redeem(code, by=thief)) == "invalid_grant"
    thief = HandClient(thief.issuer, thief.client_id, thief.key, proof_key=flow.client.proof_key)
    assert error(flow.redeem(flow.code(person), by=thief)) == "invalid_grant"


def test_attempt_reuse_authorization_code_after_one_second(flow: Flow, person: Browser) -> None:
    """The second use fails, and takes along what the first one yielded."""
    code = flow.code(person)
    first = issued(flow.redeem(code))
    assert flow.client.use("GET", ROUTE, first.access_token).status == 200
    assert error(flow.redeem(code)) == "invalid_grant"
    refused = lambda: flow.client.use("GET", ROUTE, first.access_token).code == "invalid_token"  # noqa: E731
    wait_until(refused, 5, "the access token of a code that came twice is refused")
    if "refresh_token" in first.body:
        assert error(refresh(flow.client, first.body["refresh_token"])) == "invalid_grant"


def test_ensure_token_endpoint_fails_with_expired_auth_code(flow: Flow, person: Browser, late: Node) -> None:
    """At a node for which its minute is over."""
    code = flow.code(person)
    assert error(flow.redeem(code, by=flow.client.at(base_of(late), LATE_S))) == "invalid_grant"


def refresh(client: HandClient, refresh_token: str, **how: object) -> rawhttp.Answer:
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    return client.request_token(form, **how)


def test_refresh_token(flow: Flow, person: Browser, oauth_shared: Site) -> None:
    """It is the client's own, needs its assertion and its proof, and stays the same."""
    first = flow.tokens(person)
    value = first.body["refresh_token"]
    again = issued(refresh(flow.client, value))
    assert again.body.get("refresh_token", value) == value
    assert again.access_token != first.access_token
    assert flow.client.use("GET", ROUTE, again.access_token).status == 200
    unnamed = error(refresh(flow.client, value, authenticated=False))
    assert unnamed in {"invalid_client", "invalid_grant", "invalid_request"}
    unproven = error(refresh(flow.client, value, proof=False))
    assert unproven in {"invalid_request", "invalid_grant", "invalid_dpop_proof"}
    other = oauth_shared.client("second")
    assert error(refresh(other, value)) in {"invalid_grant", "invalid_client"}
    other_key = oauth_shared.with_another_proof_key(flow.client)
    assert error(refresh(other_key, value)) in {"invalid_grant", "invalid_dpop_proof"}
    assert refresh(flow.client, value).status == 200
