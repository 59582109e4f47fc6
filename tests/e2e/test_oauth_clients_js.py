"""`openid-client` and `oauth4webapi` from npm, unmodified, against running gateways.

Their one allowance is plain HTTP, because these gateways serve on loopback. Both are tried on the embedded defaults and
on Redis and PostgreSQL with two nodes behind one address.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import jose_by_hand as jose
from tests.support import js_clients, misspelled, optional
from tests.support.oauth_flow import READING, TRADING, allow_device, consent
from tests.support.oauth_sites import CALLBACK, Site

ORDERS = "/paper/v1/orders"
ORDER = json.dumps({"symbol": "ACME", "side": "buy", "quantity": "2", "type": "market"})
Start = Callable[..., js_clients.Conversation]


@pytest.fixture(params=["openid_client.mjs", "oauth4webapi.mjs"])
def start(request: pytest.FixtureRequest, oauth_site: Site) -> Iterator[Start]:
    """A client of either library that has discovered the site."""
    optional.require("js_clients")
    with contextlib.ExitStack() as stack:

        def begin(**credentials: object) -> js_clients.Conversation:
            conversation = js_clients.Conversation(request.param)
            stack.callback(conversation.close)
            conversation.ask("discover", issuer=oauth_site.issuer, **credentials)
            return conversation

        yield begin


def by_key_of(site: Site, alg: str) -> dict[str, Any]:
    """What a client by private_key_jwt and DPoP brings."""
    made = site.client(f"js-{alg}", key=jose.Key.generate(alg, alg))
    return {"client_id": made.client_id, "private_jwk": made.key.private_jwk(), "dpop_alg": alg}


@pytest.fixture
def by_key(oauth_site: Site) -> dict[str, Any]:
    return by_key_of(oauth_site, "ES256")


@pytest.mark.parametrize("alg", ["ES256", "EdDSA", "PS256"])
def test_client_credentials_with_a_key_and_dpop(start: Start, oauth_site: Site, alg: str) -> None:
    """Discovered, authenticated by key, bound by DPoP with a nonce that it was told; then an order is placed."""
    client = start(**by_key_of(oauth_site, alg))
    made = client.ask("client_credentials", parameters={"scope": TRADING})
    assert made["token_type"].lower() == "dpop"
    assert set(made["scope"].split()) == set(TRADING.split())
    url = oauth_site.issuer + ORDERS
    assert client.ask("ask", access_token=made["access_token"], url=url)["status"] == 200
    placed = client.ask("ask", access_token=made["access_token"], url=url, method="POST", body=ORDER)
    assert placed["status"] == 200
    again = client.ask("ask", access_token=made["access_token"], url=url + "?limit=1")
    assert again["status"] == 200


def test_a_code_flow_with_par_pkce_and_dpop(start: Start, by_key: dict[str, Any], oauth_site: Site) -> None:
    """Pushed, allowed by a person, redeemed, used, refreshed, introspected and revoked."""
    client = start(**by_key)
    url = client.ask("push", redirect_uri=CALLBACK, scope=READING)
    page = consent(oauth_site.signed_in(), url)
    made = client.ask("finish", url=page.left_for)
    assert made["token_type"].lower() == "dpop"
    there = oauth_site.issuer + ORDERS
    assert client.ask("ask", access_token=made["access_token"], url=there)["status"] == 200
    refreshed = client.ask("refresh", refresh_token=made["refresh_token"])
    assert client.ask("ask", access_token=refreshed["access_token"], url=there)["status"] == 200
    told = client.ask("introspect", value=refreshed["access_token"])
    assert (told["active"], told["scope"], told["client_id"]) == (True, READING, by_key["client_id"])
    client.ask("revoke", value=made["refresh_token"])
    assert client.ask("introspect", value=refreshed["access_token"])["active"] is False
    with pytest.raises(js_clients.Refused) as refused:
        client.ask("refresh", refresh_token=made["refresh_token"])
    assert refused.value.error == "invalid_grant"


def test_a_person_who_refuses_is_told_to_the_client(
    start: Start, by_key: dict[str, Any], oauth_site: Site
) -> None:
    """Both libraries take the answer for one of this server, `iss` and all, and say what it says."""
    client = start(**by_key)
    page = consent(
        oauth_site.signed_in(), client.ask("push", redirect_uri=CALLBACK, scope=READING), allow=False
    )
    with pytest.raises(js_clients.Refused) as refused:
        client.ask("finish", url=page.left_for)
    assert refused.value.error == "access_denied"


def test_a_device_grant(start: Start, by_key: dict[str, Any], oauth_site: Site) -> None:
    """A device shows a code, a person allows it, the device gets what it may have. One of the libraries waits for the
    interval that it was told, which nothing can hurry.
    """
    client = start(**by_key)
    told = client.ask("start_device", parameters={"scope": READING})
    allowed = allow_device(oauth_site.signed_in(), told["verification_uri_complete"])
    assert allowed.status == 200
    made = client.ask("redeem_device")
    there = oauth_site.issuer + ORDERS
    assert client.ask("ask", access_token=made["access_token"], url=there)["status"] == 200


def test_a_client_by_secret_gets_bearer_tokens_that_only_read(start: Start, oauth_site: Site) -> None:
    """The older tier, whose weaknesses have names."""
    client = start(**oauth_site.client_by_secret("by-secret"))
    made = client.ask("client_credentials", parameters={"scope": READING})
    assert made["token_type"].lower() == "bearer"
    there = oauth_site.issuer + ORDERS
    assert client.ask("ask", access_token=made["access_token"], url=there)["status"] == 200
    with pytest.raises(js_clients.Refused) as refused:
        client.ask("client_credentials", parameters={"scope": "orders:write"})
    assert refused.value.error == "invalid_scope"
    client.ask("revoke", value=made["access_token"])
    assert client.ask("introspect", value=made["access_token"]) == {"active": False}


def test_a_service_can_verify_an_access_token_by_itself(by_key: dict[str, Any], oauth_site: Site) -> None:
    """By the published keys and RFC 9068 alone, proof included; and the metadata of the resource lead there."""
    optional.require("js_clients")
    client = js_clients.Conversation("oauth4webapi.mjs")
    try:
        client.ask("discover", issuer=oauth_site.issuer, **by_key)
        resource = client.ask("discover_resource", resource=oauth_site.issuer)
        assert resource["authorization_servers"] == [oauth_site.issuer]
        made = client.ask(
            "client_credentials", parameters={"scope": READING, "resource": resource["resource"]}
        )
        assert made["retries"] == 1, "it was told the nonce, and came again"
        asked = {"access_token": made["access_token"], "url": oauth_site.issuer + ORDERS}
        claims = client.ask("validate", audience=oauth_site.issuer, **asked)
        assert (claims["client_id"], claims["scope"], claims["env"]) == (
            by_key["client_id"],
            READING,
            "paper",
        )
        with pytest.raises(js_clients.Refused):
            client.ask("validate", audience="https://elsewhere.example", **asked)
    finally:
        client.close()


def test_a_wrong_secret_is_told_as_such(start: Start, oauth_site: Site) -> None:
    """The challenge names the scheme that is taken."""
    known = oauth_site.client_by_secret("by-secret")
    client = start(client_id=known["client_id"], client_secret=misspelled.last(known["client_secret"]))
    with pytest.raises(js_clients.Refused) as refused:
        client.ask("client_credentials", parameters={"scope": READING})
    assert (refused.value.status, refused.value.schemes) == (401, ["basic"])
