"""Modules of the FAPI 2.0 conformance plan that fit the client credentials grant too: metadata, assertions, proofs.

Each test is named after its module; docs/conformance.md lists them all. Where a module asks for a code to be redeemed,
the same refusal is asked for with client credentials, as the plan's profile `fapi_client_credentials_grant` does.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import jose_by_hand as jose
from tests.support import oauth_wire
from tests.support.oauth_flow import READING
from tests.support.oauth_sites import Site
from tests.support.oauth_wire import error

ROOT = Path(__file__).resolve().parents[2]
ALLOWED_ALGORITHMS = {"PS256", "ES256", "EdDSA", "Ed25519"}


def modules_of(page: str) -> dict[str, str]:
    """What docs/conformance.md says of each module."""
    listed = page.partition("## The modules")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| ([^|]+?) \|", listed, re.MULTILINE))


def as_test_name(module: str) -> str:
    return "test_" + re.sub(r"[^a-z0-9]+", "_", module.lower())


def test_every_covered_module_has_its_test_and_the_other_way_round() -> None:
    """The page and the tests cannot drift apart."""
    modules = modules_of((ROOT / "docs/conformance.md").read_text())
    text = "".join(file.read_text() for file in sorted((ROOT / "tests/hazards").glob("test_fapi2_plan*.py")))
    there = set(re.findall(r"^def (test_\w+)\(", text, re.MULTILINE))
    covered = {as_test_name(module) for module, said in modules.items() if said.startswith(("yes", "partly"))}
    assert len(modules) == 62
    assert covered - there == set()
    assert there - covered == {"test_every_covered_module_has_its_test_and_the_other_way_round"}


def test_discovery_end_point_verification(oauth_shared: Site) -> None:
    """The metadata promise what the profile asks for, and nothing weaker."""
    answer = oauth_wire.ask(oauth_shared.issuer, "GET", "/.well-known/oauth-authorization-server")
    assert answer.status == 200
    said = answer.json()
    assert said["issuer"] == oauth_shared.issuer
    for name in ("authorization", "token", "pushed_authorization_request", "introspection", "revocation"):
        assert said[f"{name}_endpoint"].startswith(oauth_shared.issuer + "/")
    assert said["jwks_uri"].startswith(oauth_shared.issuer + "/")
    assert said["response_types_supported"] == ["code"]
    assert {"authorization_code", "refresh_token", "client_credentials"} <= set(said["grant_types_supported"])
    assert {"implicit", "password"}.isdisjoint(said["grant_types_supported"])
    assert said["code_challenge_methods_supported"] == ["S256"]
    assert said["require_pushed_authorization_requests"] is True
    assert said["authorization_response_iss_parameter_supported"] is True
    assert "private_key_jwt" in said["token_endpoint_auth_methods_supported"]
    for name in ("token_endpoint_auth", "dpop"):
        offered = set(said[f"{name}_signing_alg_values_supported"])
        assert "ES256" in offered
        assert offered <= ALLOWED_ALGORITHMS
    assert all(
        re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]+", scope) for scope in said.get("scopes_supported", [])
    )


def test_ensure_client_id_in_token_endpoint(oauth_shared: Site) -> None:
    """One client's assertion beside another one's `client_id` authenticates neither."""
    first, second = oauth_shared.client("first"), oauth_shared.client("second")
    first.token(READING)
    form = {"grant_type": "client_credentials", "scope": READING, "client_id": second.client_id}
    assert error(first.request_token(form)) in {"invalid_client", "invalid_request"}
    assert first.request_token(form | {"client_id": first.client_id}).status == 200


def test_ensure_holder_of_key_required(oauth_shared: Site) -> None:
    """No proof, no token."""
    client = oauth_shared.client("first")
    refused = client.client_credentials(READING, proof=False)
    assert error(refused) in {"invalid_request", "invalid_grant", "invalid_dpop_proof"}
    assert client.client_credentials(READING).status == 200


def test_ensure_signed_client_assertion_with_rs256_fails(oauth_shared: Site) -> None:
    """The registered RSA key may be right; the algorithm is not."""
    client = oauth_shared.client("rsa", key=jose.Key.generate("PS256", "rsa-1"))
    assert client.client_credentials(READING).status == 200
    old = jose.Key("RS256", client.key.private, "rsa-1")
    made = old.sign(jose.assertion_claims(client.client_id, client.issuer))
    assert error(client.client_credentials(READING, assertion=made)) == "invalid_client"


def test_ensure_client_assertion_in_token_endpoint(oauth_shared: Site) -> None:
    """A client that does not say who it is gets nothing, whatever else it sends."""
    client = oauth_shared.client("first")
    form = {"grant_type": "client_credentials", "scope": READING, "client_id": client.client_id}
    client.token(READING)
    assert error(client.request_token(form, authenticated=False)) in {"invalid_client", "invalid_request"}


@pytest.mark.parametrize("with_iat", [True, False])
def test_ensure_client_assertion_with_exp_is_5_minutes_in_past_fails(
    oauth_shared: Site, with_iat: bool
) -> None:
    """What has expired is refused, also when it does not say when it was made."""
    client = oauth_shared.client("first")
    client.token(READING)
    at = jose.now()
    made = client.assertion(exp=at - 300, iat=at - 360 if with_iat else None)
    assert error(client.client_credentials(READING, assertion=made)) == "invalid_client"


def test_ensure_client_assertion_with_wrong_aud_fails(oauth_shared: Site) -> None:
    """An assertion for another server is not for this one."""
    client = oauth_shared.client("first")
    client.token(READING)
    made = client.assertion(aud="https://other.example")
    assert error(client.client_credentials(READING, assertion=made)) == "invalid_client"


def test_ensure_client_assertion_with_no_sub_fails(oauth_shared: Site) -> None:
    """Otherwise anything that a client ever signed for us could authenticate it."""
    client = oauth_shared.client("first")
    client.token(READING)
    made = client.assertion(sub=None)
    assert error(client.client_credentials(READING, assertion=made)) == "invalid_client"
