"""What follows a person's yes, over sockets: redeemed once by whoever races for it on any node, and dead on reuse.

The yes itself is said straight to the store; clients ask the nodes.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import jose_by_hand as jose
from tests.support import rawhttp
from tests.support.gateway import wait_until
from tests.support.oauth_flow import Flow
from tests.support.oauth_sites import Site
from tests.support.oauth_wire import HandClient, error, given, issued, post_form
from tests.support.oauth_yes import Yes

ROUTE = "/paper/v1/orders"
AT_ONCE = 50
# Nobody wakes the nodes here: they find it by themselves.
FOLLOWED_S = 5.0
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
LOOPBACK = "http://127.0.0.1/callback"


@pytest.fixture(scope="module")
def yes(oauth_shared: Site) -> Yes:
    return Yes(oauth_shared.deployment)


@pytest.fixture(scope="module")
def client(oauth_shared: Site) -> HandClient:
    """The nonces of both nodes are one, and known."""
    made = oauth_shared.client("racing")
    made.token()
    return made


@pytest.fixture(scope="module")
def phone(oauth_shared: Site) -> str:
    """A public client's id, whose tokens are bound to nothing."""
    weaker = ["--authentication", "none", "--exception", "public-client", "--exception", "bearer-tokens"]
    used = ["--redirect-uri", LOOPBACK, "--grant", "authorization_code", "--grant", "refresh_token"]
    terms = [*weaker, "--binding", "none", "--role", "viewer", *used]
    made = str(oauth_shared.make_client("phone", *terms)["id"])
    for base in oauth_shared.bases():
        asked = lambda base=base: post_form(base, "/oauth/par", {"client_id": made})  # noqa: E731
        wait_until(lambda asked=asked: asked().status != 401, FOLLOWED_S, "a new client is served")
    return made


def race(site: Site, ask: Callable[[str], rawhttp.Answer]) -> list[rawhttp.Answer]:
    """Half of them at each node."""
    bases = site.bases()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(ask, [bases[number % len(bases)] for number in range(AT_ONCE)]))


def one_success(answers: list[rawhttp.Answer]) -> rawhttp.Answer:
    """All others are told that it is no good."""
    counted = Counter(answer.status for answer in answers)
    assert counted == {200: 1, 400: AT_ONCE - 1}
    assert {error(answer) for answer in answers if answer.status != 200} == {"invalid_grant"}
    return next(answer for answer in answers if answer.status == 200)


def by_phone(base: str, phone: str, form: Mapping[str, str | None]) -> rawhttp.Answer:
    return post_form(base, "/oauth/token", given({"client_id": phone, **form}))


def begin_by_phone(site: Site, yes: Yes, phone: str) -> str:
    """A refresh token, from a loopback application that chose a port."""
    verifier, redirect = jose.fresh() + jose.fresh(), "http://127.0.0.1:49152/callback"
    request = {
        "client_id": phone,
        "response_type": "code",
        "redirect_uri": redirect,
        "code_challenge": jose.digest(verifier),
        "code_challenge_method": "S256",
    }
    pushed = post_form(site.issuer, "/oauth/par", request)
    assert pushed.status == 201, pushed
    code = yes.code(pushed.json()["request_uri"], phone)
    redeeming = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect}
    answer = by_phone(site.issuer, phone, {**redeeming, "code_verifier": verifier})
    return str(issued(answer).body["refresh_token"])


def test_fifty_redemptions_of_one_code_on_two_nodes(oauth_shared: Site, client: HandClient, yes: Yes) -> None:
    """Point 8: one succeeds, the others are reuse, and what the one got is worth nothing."""
    flow = Flow(client)
    code = yes.code(flow.pushed(), client.client_id)

    def redeem(base: str) -> rawhttp.Answer:
        there = client.at(base)
        there.nonces = dict(client.nonces)
        return flow.redeem(code, by=there)

    won = issued(one_success(race(oauth_shared, redeem)))
    refreshing = {"grant_type": "refresh_token", "refresh_token": won.body["refresh_token"]}
    assert error(client.request_token(refreshing)) == "invalid_grant"


def test_fifty_uses_of_one_refresh_token_of_a_public_client(oauth_shared: Site, phone: str, yes: Yes) -> None:
    """Point 10: one gets the next one, and that one is worth nothing once the first has come twice."""
    value = begin_by_phone(oauth_shared, yes, phone)

    def refresh(base: str, value: str = value) -> rawhttp.Answer:
        return by_phone(base, phone, {"grant_type": "refresh_token", "refresh_token": value})

    won = issued(one_success(race(oauth_shared, refresh)))
    assert won.body["refresh_token"] != value
    assert error(refresh(oauth_shared.issuer, won.body["refresh_token"])) == "invalid_grant"


def test_a_public_client_rotates_its_refresh_tokens(oauth_shared: Site, phone: str, yes: Yes) -> None:
    """Point 10: each is good once, the first's reuse ends the last."""
    first = value = begin_by_phone(oauth_shared, yes, phone)
    for _ in range(3):
        form = {"grant_type": "refresh_token", "refresh_token": value}
        value = issued(by_phone(oauth_shared.issuer, phone, form)).body["refresh_token"]
    for dead in (first, value):
        form = {"grant_type": "refresh_token", "refresh_token": dead}
        assert error(by_phone(oauth_shared.issuer, phone, form)) == "invalid_grant"


def test_fifty_questions_for_one_device_code(oauth_shared: Site, client: HandClient, yes: Yes) -> None:
    """At the moment in which its person has said yes."""
    begun = client.post("/oauth/device_authorization", {"scope": "orders:read"})
    assert begun.status == 200, begun
    form = {"grant_type": DEVICE, "device_code": begun.json()["device_code"]}
    assert error(client.request_token(form)) == "authorization_pending"
    assert error(client.request_token(form)) == "slow_down"
    yes.device(begun.json()["user_code"])

    def ask(base: str) -> rawhttp.Answer:
        there = client.at(base)
        there.nonces = dict(client.nonces)
        return there.request_token(form)

    won = issued(one_success(race(oauth_shared, ask)))
    refreshing = {"grant_type": "refresh_token", "refresh_token": won.body["refresh_token"]}
    assert error(client.request_token(refreshing)) == "invalid_grant"


def test_what_a_device_is_told(oauth_shared: Site, client: HandClient, yes: Yes) -> None:
    """The page's address, with the code and without; and then a token that says whose it is."""
    begun = client.post("/oauth/device_authorization", {"scope": "orders:read"})
    told = begun.json()
    assert begun.header("cache-control") == "no-store"
    assert (told["expires_in"], told["interval"]) == (600, 5)
    page = f"{oauth_shared.issuer}/oauth/device"
    assert (told["verification_uri"], told["verification_uri_complete"]) == (
        page,
        f"{page}?user_code={told['user_code']}",
    )
    yes.device(told["user_code"])
    won = issued(client.request_token({"grant_type": DEVICE, "device_code": told["device_code"]}))
    assert (won.claims["sub"], won.claims["partner"], won.claims["roles"]) == ("ann", "acme", ["trader"])
    assert won.claims["amr"] == ["otp", "pwd"]
    assert won.body["scope"] == won.claims["scope"] == "orders:read"


def test_a_proof_that_lacks_its_nonce_uses_up_nothing(client: HandClient, yes: Yes) -> None:
    """Point 11 meets point 8: the code is still good when the client comes back with the nonce."""
    flow = Flow(client)
    code = yes.code(flow.pushed(), client.client_id)
    stranger = client.proof("POST", f"{client.issuer}/oauth/token", nonce=None)
    assert error(flow.redeem(code, proof=stranger)) == "use_dpop_nonce"
    assert error(flow.redeem(code, proof=False)) == "invalid_dpop_proof"
    assert flow.redeem(code).status == 200


def test_another_resource_than_the_one_allowed(client: HandClient, yes: Yes) -> None:
    """Refused by its name, and the code is still good."""
    flow = Flow(client)
    code = yes.code(flow.pushed(), client.client_id)
    assert error(flow.redeem(code, {"resource": "https://elsewhere.example"})) == "invalid_target"
    assert flow.redeem(code, {"resource": client.issuer}).status == 200


def test_a_person_who_ends_everything_ends_it(oauth_shared: Site, client: HandClient, yes: Yes) -> None:
    """Revoked grants refresh nothing, and their access tokens open nothing on any node. Those of an account that is
    disabled stay dead when it is there again.
    """
    flow = Flow(client)
    won = issued(flow.redeem(yes.code(flow.pushed(), client.client_id)))
    refreshing = {"grant_type": "refresh_token", "refresh_token": won.body["refresh_token"]}
    assert client.request_token(refreshing).status == 200
    there = [client.at(base) for base in oauth_shared.bases()]
    assert [each.use("GET", ROUTE, won.access_token).status for each in there] == [200, 200]
    yes.revoke_all()
    for each in there:
        refused = lambda each=each: each.use("GET", ROUTE, won.access_token).status == 401  # noqa: E731
        wait_until(refused, FOLLOWED_S, "the grant's revocation is followed")
    assert error(client.request_token(refreshing)) == "invalid_grant"
    other = issued(flow.redeem(yes.code(flow.pushed(), client.client_id)))
    refreshing = {"grant_type": "refresh_token", "refresh_token": other.body["refresh_token"]}
    with contextlib.ExitStack() as stack:
        stack.callback(yes.change_account, state="active")
        yes.change_account(state="disabled")
        assert error(client.request_token(refreshing)) == "invalid_grant"
    assert error(client.request_token(refreshing)) == "invalid_grant"


@pytest.mark.parametrize("path", ["/oauth/par", "/oauth/device_authorization"])
def test_what_begins_a_flow_is_asked_by_clients_alone(client: HandClient, path: str) -> None:
    """Not without proof of who asks, not by GET, not in the query."""
    flow = Flow(client)
    assert error(client.post(path, flow.parameters(), authenticated=False, proof=False)) == "invalid_client"
    assert post_form(client.base, path + "?scope=x", {}).status == 400
