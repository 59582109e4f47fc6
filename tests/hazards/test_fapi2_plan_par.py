"""Modules of the FAPI 2.0 conformance plan about pushed authorization requests: what may be pushed, and what becomes of
a request URI.
"""

from __future__ import annotations

import pytest

from tests.support import jose_by_hand as jose
from tests.support import oauth_wire
from tests.support.browser import Browser, Page
from tests.support.gateway import Node
from tests.support.oauth_flow import READING, TRADING, Flow, consent
from tests.support.oauth_sites import Site, base_of
from tests.support.oauth_wire import error


@pytest.fixture
def flow(oauth_shared: Site) -> Flow:
    return Flow(oauth_shared.client("first"))


@pytest.fixture
def person(oauth_shared: Site) -> Browser:
    return oauth_shared.signed_in()


def was_stopped(page: Page) -> bool:
    """An error is shown to the person, and nobody is sent anywhere."""
    return page.left_for is None and 400 <= page.status < 500 and "decision" not in page.text


def test_user_rejects_authentication(flow: Flow, person: Browser) -> None:
    """The client learns of it, and of who says so."""
    state = flow.state + "~" * (128 - len(flow.state))
    page = consent(person, flow.url(flow.pushed({"state": state})), allow=False)
    assert page.callback() | {"error_description": ""} == {
        "error": "access_denied",
        "error_description": "",
        "state": state,
        "iss": flow.client.issuer,
    }


def test_ensure_authorization_request_without_state_success(flow: Flow, person: Browser) -> None:
    """What was not asked for does not come back."""
    page = consent(person, flow.url(flow.pushed({"state": None})))
    assert set(page.callback()) == {"code", "iss"}
    assert flow.redeem(page.callback()["code"]).status == 200


def test_ensure_other_scope_order_succeeds(oauth_shared: Site, person: Browser) -> None:
    """The order of scopes says nothing."""
    flow = Flow(oauth_shared.client("first"), " ".join(reversed(TRADING.split())))
    made = flow.tokens(person)
    assert set(made.claims["scope"].split()) == set(TRADING.split())


def test_ensure_different_state_inside_and_outside_request_object(flow: Flow, person: Browser) -> None:
    """What was pushed counts; what stands beside it in the URL does not."""
    page = consent(person, flow.url(flow.pushed(), state="another"))
    assert was_stopped(page) or page.callback()["state"] == flow.state


def test_state_only_outside_request_object_not_used(flow: Flow, person: Browser) -> None:
    """A state that was not pushed does not come back."""
    page = consent(person, flow.url(flow.pushed({"state": None}), state="another"))
    assert was_stopped(page) or "state" not in page.callback()


def test_ensure_authorization_request_with_long_state(flow: Flow, person: Browser) -> None:
    """A thousand characters come back whole, or are refused at once."""
    state = "s" * 1000
    answer = flow.push({"state": state})
    if answer.status != 201:
        assert error(answer) == "invalid_request"
        return
    page = consent(person, flow.url(answer.json()["request_uri"]))
    assert page.callback()["state"] == state


def test_ensure_request_object_without_redirect_uri_fails(flow: Flow) -> None:
    """Where to go has to be said."""
    assert error(flow.push({"redirect_uri": None})) == "invalid_request"


def test_ensure_redirect_uri_in_authorization_request(flow: Flow) -> None:
    """Also where only one address is registered."""
    assert error(flow.push({"redirect_uri": None})) == "invalid_request"


def unregistered(flow: Flow) -> list[str]:
    there = flow.client.redirect_uri
    return [
        "https://evil.example/callback",
        there + "/more",
        there + "?more=1",
        there.upper(),
        there + "/../callback",
    ]


def test_ensure_registered_redirect_uri(flow: Flow) -> None:
    """An address that nobody registered is refused where the client says it."""
    for there in unregistered(flow):
        assert error(flow.push({"redirect_uri": there})) in {"invalid_request", "invalid_redirect_uri"}, there


def test_plain_fapi_tolerate_unregistered_redirect_uri(flow: Flow) -> None:
    """The plan would allow it to a client that is authenticated; here it is refused all the same."""
    refused = flow.push({"redirect_uri": "https://conformance.example/unregistered"})
    assert error(refused) in {"invalid_request", "invalid_redirect_uri"}


def test_ensure_unsigned_authorization_request_without_using_par_fails(flow: Flow, person: Browser) -> None:
    """Parameters in the URL are no request."""
    said = oauth_wire.given(flow.parameters())
    page = person.open("/oauth/authorize?" + "&".join(f"{name}={value}" for name, value in said.items()))
    assert was_stopped(page)


@pytest.mark.parametrize("wanted", ["code id_token", "id_token code", "id_token"])
def test_ensure_response_type_code_idtoken_fails(flow: Flow, wanted: str) -> None:
    """Nothing but a code ever goes through the browser."""
    assert error(flow.push({"response_type": wanted})) in {"unsupported_response_type", "invalid_request"}


@pytest.mark.parametrize("wanted", ["token", "code token", "none", None])
def test_ensure_response_type_token_fails(flow: Flow, wanted: str | None) -> None:
    """An access token least of all."""
    assert error(flow.push({"response_type": wanted})) in {"unsupported_response_type", "invalid_request"}


def test_par_ensure_reused_request_uri_prior_to_auth_completion_succeeds(
    flow: Flow, oauth_shared: Site
) -> None:
    """Whoever has only looked, signed in or not, may come back."""
    url = flow.url(flow.pushed())
    assert oauth_shared.stranger().open(url).left_for is None
    person = oauth_shared.signed_in()
    assert person.open(url).form_with("decision").fields
    assert consent(person, url).callback()["code"]


@pytest.mark.parametrize("allow", [True, False])
def test_par_attempt_reuse_request_uri(flow: Flow, person: Browser, allow: bool) -> None:
    """One request, one decision."""
    url = flow.url(flow.pushed())
    assert consent(person, url, allow=allow).left_for
    assert was_stopped(person.open(url))


def test_par_attempt_to_use_expired_request_uri(flow: Flow, oauth_shared: Site, late: Node) -> None:
    """At a node for which its time is over."""
    request_uri = flow.pushed()
    there = base_of(late)
    page = oauth_shared.signed_in(there).open(Flow(flow.client.at(there)).url(request_uri))
    assert was_stopped(page)


def test_par_ensure_jwt_client_assertions_nbf_8_seconds_in_the_future_is_accepted(flow: Flow) -> None:
    """A client whose clock is a little fast."""
    flow.pushed()
    at = jose.now() + 8
    assert flow.push(assertion=flow.client.assertion(iat=at, nbf=at, exp=at + 50)).status == 201


def test_par_ensure_jwt_client_assertions_nbf_over_60_seconds_in_the_future_fails(flow: Flow) -> None:
    """A client that made its assertions in advance."""
    flow.pushed()
    at = jose.now() + 75
    made = flow.client.assertion(iat=at, nbf=at, exp=at + 50)
    assert error(flow.push(assertion=made)) in {"invalid_client", "invalid_request"}


def test_par_attempt_to_use_request_uri_for_different_client(
    flow: Flow, oauth_shared: Site, person: Browser
) -> None:
    """What one client pushed is nothing to another."""
    other = Flow(oauth_shared.client("second"))
    assert was_stopped(person.open(other.url(flow.pushed())))


def test_par_authorization_request_containing_request_uri_form_param(flow: Flow) -> None:
    """No request refers to a request."""
    assert error(flow.push({"request_uri": "urn:ietf:params:oauth:request_uri:abc"})) == "invalid_request"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_par_attempt_invalid_http_method(oauth_shared: Site, method: str) -> None:
    """Nothing is pushed by another method."""
    assert oauth_wire.ask(oauth_shared.issuer, method, "/oauth/par").status == 405


@pytest.mark.parametrize("missing", [("code_challenge", "code_challenge_method"), ("code_challenge",)])
def test_par_ensure_pkce_required(flow: Flow, missing: tuple[str, ...]) -> None:
    """A code that no verifier protects is not given out."""
    assert error(flow.push(dict.fromkeys(missing))) == "invalid_request"


@pytest.mark.parametrize("method", ["plain", None, "s256"])
def test_par_plain_pkce_rejected(flow: Flow, method: str | None) -> None:
    """Also where `plain` is what its absence would mean."""
    changes = {"code_challenge": flow.verifier, "code_challenge_method": method}
    assert error(flow.push(changes)) == "invalid_request"


def test_par_without_duplicate_parameters(flow: Flow, person: Browser) -> None:
    """Two parameters are the whole URL."""
    page = consent(person, flow.url(flow.pushed()))
    assert flow.redeem(page.callback()["code"]).status == 200


@pytest.mark.parametrize("alone", [True, False])
def test_par_test_array_as_audience_fails(flow: Flow, alone: bool) -> None:
    """One audience, as one string."""
    flow.pushed()
    audience = [flow.client.issuer, *([] if alone else [flow.client.issuer + "/oauth/par"])]
    refused = flow.push(assertion=flow.client.assertion(aud=audience))
    assert error(refused) in {"invalid_client", "invalid_request"}


def test_par_test_par_endpoint_url_as_audience_fails(flow: Flow) -> None:
    """The audience is the server, not one of its doors."""
    flow.pushed()
    made = flow.client.assertion(aud=flow.client.issuer + "/oauth/par")
    assert error(flow.push(assertion=made)) in {"invalid_client", "invalid_request"}


def test_par_test_token_endpoint_url_as_audience_fails(flow: Flow) -> None:
    """The audience is the server, not another of its doors."""
    flow.pushed()
    made = flow.client.assertion(aud=flow.client.issuer + "/oauth/token")
    assert error(flow.push(assertion=made)) in {"invalid_client", "invalid_request"}


def test_happy_flow(oauth_shared: Site, person: Browser) -> None:
    """Two clients, all the way; and neither can use what the other got."""
    flows = [Flow(oauth_shared.client(name), READING) for name in ("first", "second")]
    made = [flow.tokens(person) for flow in flows]
    for number, flow in enumerate(flows):
        own, others = made[number].access_token, made[1 - number].access_token
        assert made[number].body["token_type"] == "DPoP"
        assert flow.client.use("GET", "/paper/v1/orders", own).status == 200
        assert flow.client.use("GET", "/paper/v1/orders", others).code == "invalid_token"
