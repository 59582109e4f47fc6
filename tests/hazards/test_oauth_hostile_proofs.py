"""Stolen, replayed and raced: proofs and access tokens out of place, and values that count once, used at once.

All of it against two nodes on one PostgreSQL and one Redis, asked alternately or in parallel.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.support import jose_by_hand as jose
from tests.support import oauth_wire, rawhttp
from tests.support.browser import Browser
from tests.support.gateway import wait_until
from tests.support.oauth_flow import READING, Flow, allow_device
from tests.support.oauth_sites import DEVICE_GRANT, Site, base_of
from tests.support.oauth_wire import HandClient, error, issued

ROUTE = "/paper/v1/orders"
AT_ONCE = 50


@pytest.fixture
def client(oauth_shared: Site) -> HandClient:
    made = oauth_shared.client("first")
    made.token(READING)
    return made


@pytest.fixture
def person(oauth_shared: Site) -> Browser:
    return oauth_shared.signed_in()


def race(site: Site, client: HandClient, ask: Callable[[HandClient], rawhttp.Answer]) -> list[rawhttp.Answer]:
    """So many at once, half of them at each node, as far as one machine can."""
    there = [client.at(base, nonces=client.nonces) for base in site.bases()]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as threads:
        asked = [threads.submit(ask, there[number % len(there)]) for number in range(AT_ONCE)]
        return [each.result() for each in asked]


def presented(client: HandClient, access_token: str, *proofs: str) -> rawhttp.Answer:
    headers = [("Authorization", f"DPoP {access_token}"), *(("DPoP", proof) for proof in proofs)]
    return oauth_wire.ask(client.base, "GET", ROUTE, headers)


def proof_for(
    client: HandClient, access_token: str, *, key: jose.Key | None = None, **changes: object
) -> str:
    claims = jose.proof_claims(
        "GET", client.issuer + ROUTE, access_token=access_token, nonce=client.nonces.get("routes")
    )
    return jose.proof(key or client.proof_key, claims | changes)


def test_a_proof_out_of_place_is_refused(client: HandClient) -> None:
    """For another method, address, token or key, 61 seconds old, or of tomorrow."""
    made, other = client.token(READING).access_token, client.token(READING).access_token
    assert client.use("GET", ROUTE, made).status == 200
    for proof in (
        proof_for(client, made, htm="POST"),
        proof_for(client, made, htm="get"),
        proof_for(client, made, htu=client.issuer + "/oauth/token"),
        proof_for(client, made, htu="https://gateway.example" + ROUTE),
        proof_for(client, made, htu=ROUTE),
        proof_for(client, other),
        proof_for(client, made, key=jose.Key.generate()),
        proof_for(client, made, iat=jose.now() - 61),
        proof_for(client, made, iat=jose.now() + 61),
        proof_for(client, made, iat=True),
        proof_for(client, made, jti=""),
        proof_for(client, made, jti="j" * 10_000),
    ):
        answer = presented(client, made, proof)
        assert answer.status in {401, 431}, jose.parts(proof)
        assert answer.status == 431 or (answer.header("www-authenticate") or "").startswith("DPoP ")
    assert presented(client, made, proof_for(client, made)).status == 200


def test_a_bound_token_is_no_bearer_token(client: HandClient) -> None:
    """Not alone, not with a proof beside it, not under both schemes."""
    made = client.token(READING).access_token
    client.use("GET", ROUTE, made)
    bearer = ("Authorization", f"Bearer {made}")
    proof = ("DPoP", proof_for(client, made))
    for headers in ([bearer], [bearer, proof], [("Authorization", f"DPoP {made}")]):
        answer = oauth_wire.ask(client.base, "GET", ROUTE, headers)
        assert answer.status == 401, headers
    assert client.use("GET", ROUTE, made).status == 200


def test_a_proof_counts_once_on_all_nodes(oauth_shared: Site, client: HandClient) -> None:
    """Fifty at once, half of them at each node: one passes."""
    made = client.token(READING).access_token
    assert client.use("GET", ROUTE, made).status == 200
    proof = proof_for(client, made)
    answers = race(oauth_shared, client, lambda each: presented(each, made, proof))
    assert sorted(answer.status for answer in answers) == [200] + [401] * (AT_ONCE - 1)


def test_an_assertion_counts_once_on_all_nodes(oauth_shared: Site, client: HandClient) -> None:
    """The same for what authenticates a client."""
    assertion = client.assertion()
    answers = race(oauth_shared, client, lambda each: each.client_credentials(READING, assertion=assertion))
    assert sorted(answer.status for answer in answers) == [200] + [401] * (AT_ONCE - 1)


def test_a_code_counts_once_on_all_nodes(oauth_shared: Site, client: HandClient, person: Browser) -> None:
    """Fifty redemptions at once: one succeeds, and what it got dies, since a code that comes twice was stolen."""
    flow = Flow(client)
    code = flow.code(person)
    answers = race(oauth_shared, client, lambda each: flow.redeem(code, by=each))
    won = [answer for answer in answers if answer.status == 200]
    assert len(won) == 1
    assert {error(answer) for answer in answers if answer.status != 200} == {"invalid_grant"}
    wait_until(
        lambda: client.use("GET", ROUTE, issued(won[0]).access_token).code == "invalid_token",
        5,
        "what a code that came twice yielded is refused",
    )


def test_a_device_code_counts_once_on_all_nodes(
    oauth_shared: Site, client: HandClient, person: Browser
) -> None:
    """Fifty at once, after it was allowed: one succeeds."""
    told = client.post("/oauth/device_authorization", {"scope": READING}, proof=False).json()
    assert allow_device(person, told["verification_uri_complete"]).status == 200
    form = {"grant_type": DEVICE_GRANT, "device_code": told["device_code"]}
    answers = race(oauth_shared, client, lambda each: each.request_token(form))
    assert [answer.status for answer in answers].count(200) == 1
    assert {error(answer) for answer in answers if answer.status != 200} <= {
        "invalid_grant",
        "slow_down",
        "expired_token",
    }


def test_a_rotated_refresh_token_that_comes_twice_ends_its_family(
    oauth_shared: Site, person: Browser
) -> None:
    """A public client's: fifty at once, one succeeds, and in the end nothing of the family works."""
    public = oauth_shared.public_client("public")
    flow = Flow(public)
    code = flow.code(person, authenticated=False)
    first = issued(flow.redeem(code, {"client_id": public.client_id}, authenticated=False)).body
    form = {
        "grant_type": "refresh_token",
        "refresh_token": first["refresh_token"],
        "client_id": public.client_id,
    }
    answers = race(oauth_shared, public, lambda each: each.request_token(form, authenticated=False))
    won = [answer.json() for answer in answers if answer.status == 200]
    assert len(won) == 1
    assert won[0]["refresh_token"] != first["refresh_token"]
    assert {error(answer) for answer in answers if answer.status != 200} == {"invalid_grant"}
    successor = form | {"refresh_token": won[0]["refresh_token"]}
    assert error(public.request_token(successor, authenticated=False)) == "invalid_grant"
    dead = lambda: public.use("GET", ROUTE, won[0]["access_token"]).code == "invalid_token"  # noqa: E731
    wait_until(dead, 5, "the access token of a dead family is refused")


def test_a_revocation_is_everywhere_within_a_second(oauth_shared: Site, client: HandClient) -> None:
    """Revoked at one node, refused at the other, which had served it."""
    made = client.token(READING).access_token
    first, second = (client.at(base) for base in oauth_shared.bases())
    assert [each.use("GET", ROUTE, made).status for each in (first, second)] == [200, 200]
    assert first.post("/oauth/revoke", {"token": made}, proof=False).status == 200
    wait_until(lambda: second.use("GET", ROUTE, made).code == "invalid_token", 5, "revoked at the other node")
    told = second.post("/oauth/introspect", {"token": made}, proof=False)
    assert told.json() == {"active": False}


@contextlib.contextmanager
def beside(site: Site, changes: dict[str, object]) -> Iterator[str]:
    """One more node on the same store, with the same signing keys and another name for itself or its audience."""
    node = site.deployment.serve(changes=changes)
    try:
        yield base_of(node)
    finally:
        node.stop()
        site.deployment.nodes.remove(node)


def test_a_token_for_another_audience(oauth_shared: Site, client: HandClient) -> None:
    """Same issuer, same key, same client: for somebody else."""
    with beside(oauth_shared, {"oauth": {"resources": ["https://elsewhere.example"]}}) as base:
        made = issued(client.at(base).client_credentials(READING))
    assert made.claims["aud"] == "https://elsewhere.example"
    assert client.use("GET", ROUTE, made.access_token).code == "invalid_token"


def test_a_token_of_another_issuer(oauth_shared: Site, client: HandClient) -> None:
    """Same key, for us: by somebody else."""
    changes = {
        "service": {"issuer": "https://elsewhere.example"},
        "oauth": {"resources": [client.issuer]},
    }
    with beside(oauth_shared, changes) as base:
        abroad = HandClient(
            "https://elsewhere.example", client.client_id, client.key, proof_key=client.proof_key, base=base
        )
        made = issued(abroad.client_credentials(READING))
    assert (made.claims["iss"], made.claims["aud"]) == ("https://elsewhere.example", client.issuer)
    assert client.use("GET", ROUTE, made.access_token).code == "invalid_token"


def test_keys_are_not_fetched_from_inside(oauth_shared: Site) -> None:
    """A client whose keys are said to lie on the loopback cannot have us knock there, nor learn what is there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = f"https://127.0.0.1:{listener.getsockname()[1]}/jwks.json"
        made = oauth_shared.make_client("by-url", "--role", "viewer", "--jwks-url", place)
        client = HandClient(oauth_shared.issuer, made["id"], jose.Key.generate("ES256", "far"))

        def is_known() -> bool:
            answer = client.client_credentials(READING)
            assert (answer.status, "127.0.0.1" in answer.body.decode()) == (401, False)
            return any("keys_unreachable" in node.log_text() for node in oauth_shared.deployment.nodes)

        wait_until(is_known, 5, "the client is known, and its keys are not")
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()
