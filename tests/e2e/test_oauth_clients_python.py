"""`requests-oauthlib` and Authlib's client, unmodified, against running gateways.

Neither has DPoP, so both are clients of the older tier, whose tokens only read: by secret, and with Authlib by key.
"""

from __future__ import annotations

import time

import oauthlib.oauth2  # type: ignore[import-untyped]  # ships no types
import pytest
import requests_oauthlib
from authlib.integrations import requests_client
from authlib.oauth2 import rfc7523
from joserfc import jwk

from tests.support.oauth_flow import READING
from tests.support.oauth_sites import Site

ORDERS = "/paper/v1/orders"


@pytest.fixture(autouse=True)
def _plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """The allowance that `oauthlib` documents for servers on the loopback."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


def test_requests_oauthlib_by_secret(oauth_site: Site) -> None:
    """A token by `client_secret_basic`, requests with it, and no more than its scope."""
    known = oauth_site.client_by_secret("by-secret")
    backend = oauthlib.oauth2.BackendApplicationClient(client_id=known["client_id"], scope=READING)
    with requests_oauthlib.OAuth2Session(client=backend) as session:
        url = oauth_site.issuer + "/oauth/token"
        made = session.fetch_token(url, client_id=known["client_id"], client_secret=known["client_secret"])
        assert (made["token_type"], made["scope"]) == ("Bearer", [READING])
        assert session.get(oauth_site.issuer + ORDERS, timeout=30).status_code == 200
        refused = session.post(oauth_site.issuer + ORDERS, json={}, timeout=30)
        assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
        assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]


def test_requests_oauthlib_with_a_wrong_secret(oauth_site: Site) -> None:
    """The library knows the error by its code."""
    known = oauth_site.client_by_secret("by-secret")
    backend = oauthlib.oauth2.BackendApplicationClient(client_id=known["client_id"])
    with (
        requests_oauthlib.OAuth2Session(client=backend) as session,
        pytest.raises(oauthlib.oauth2.InvalidClientError),
    ):
        session.fetch_token(
            oauth_site.issuer + "/oauth/token",
            client_id=known["client_id"],
            client_secret=known["client_secret"] + "x",
        )


def test_authlib_by_secret(oauth_site: Site) -> None:
    """Fetched, used, introspected and revoked."""
    known = oauth_site.client_by_secret("by-secret")
    with requests_client.OAuth2Session(known["client_id"], known["client_secret"], scope=READING) as session:
        made = session.fetch_token(oauth_site.issuer + "/oauth/token", grant_type="client_credentials")
        assert session.get(oauth_site.issuer + ORDERS).status_code == 200
        there = oauth_site.issuer + "/oauth/introspect"
        told = session.introspect_token(there, token=made["access_token"]).json()
        assert (told["active"], told["client_id"]) == (True, known["client_id"])
        done = session.revoke_token(oauth_site.issuer + "/oauth/revoke", token=made["access_token"])
        assert done.status_code == 200
        assert session.introspect_token(there, token=made["access_token"]).json() == {"active": False}


def test_authlib_by_key(oauth_site: Site) -> None:
    """Its assertions last an hour and name the endpoint unless they are told better: so it is told."""
    client_id, key = oauth_site.client_by_key_alone("by-key-alone")
    private = jwk.import_key(dict(key.private_jwk()))
    with requests_client.OAuth2Session(
        client_id, private, token_endpoint_auth_method="private_key_jwt", scope=READING
    ) as session:
        for _ in range(2):
            end = {"exp": int(time.time()) + 50}
            session.register_client_auth_method(
                rfc7523.PrivateKeyJWT(oauth_site.issuer, claims=end, headers={"kid": key.kid}, alg="ES256")
            )
            made = session.fetch_token(oauth_site.issuer + "/oauth/token", grant_type="client_credentials")
            assert made["scope"] == READING
        assert session.get(oauth_site.issuer + ORDERS).status_code == 200
