"""What the authorization server and the protected resource say of themselves."""

import msgspec

from auth.oauth import metadata
from tests.support import oauth_desk
from tests.support.oauth_desk import ISSUER, OTHER_RESOURCE


def test_1_the_metadata_names_the_exact_issuer_and_its_endpoints() -> None:
    """RFC 8414: the issuer as configured, addresses below it, S256 alone, PAR required, `iss` in responses."""
    told = metadata.server(oauth_desk.offer())
    assert told["issuer"] == ISSUER
    assert told["token_endpoint"] == ISSUER + "/oauth/token"
    assert told["jwks_uri"] == ISSUER + "/.well-known/jwks.json"
    assert told["code_challenge_methods_supported"] == ["S256"]
    assert told["require_pushed_authorization_requests"] is True
    assert told["authorization_response_iss_parameter_supported"] is True
    assert all(told[name].startswith(ISSUER + "/") for name in told if name.endswith(("_endpoint", "_uri")))


def test_4_the_metadata_lists_the_algorithms_of_the_profile() -> None:
    """PS256, ES256 and EdDSA in both spellings, and nothing else, wherever algorithms are listed."""
    told = metadata.server(oauth_desk.offer())
    listed = [told[name] for name in told if "signing_alg" in name]
    assert len(listed) == 4
    assert all(each == ["PS256", "ES256", "EdDSA", "Ed25519"] for each in listed)


def test_nothing_is_listed_that_is_not_served() -> None:
    """Without the code flow no page and no PAR; without certificates none of their methods."""
    bare = msgspec.structs.replace(oauth_desk.offer(), grant_types=("client_credentials",))
    told = metadata.server(bare)
    assert not {
        "authorization_endpoint",
        "pushed_authorization_request_endpoint",
        "registration_endpoint",
    } & set(told)
    assert "tls_client_auth" not in told["token_endpoint_auth_methods_supported"]
    full = msgspec.structs.replace(
        bare,
        certificates=True,
        registration=True,
        grant_types=("urn:ietf:params:oauth:grant-type:device_code",),
    )
    told = metadata.server(full)
    assert "tls_client_auth" in told["token_endpoint_auth_methods_supported"]
    assert told["device_authorization_endpoint"] == ISSUER + "/oauth/device_authorization"
    assert told["registration_endpoint"] == ISSUER + "/oauth/register"


def test_introspection_takes_no_client_that_cannot_prove_itself() -> None:
    """RFC 7662: authenticated."""
    told = metadata.server(oauth_desk.offer())
    assert "none" in told["token_endpoint_auth_methods_supported"]
    assert "none" not in told["introspection_endpoint_auth_methods_supported"]


def test_1_the_protected_resource_names_its_authorization_server() -> None:
    """RFC 9728: the resource asked for, and tokens in the header alone."""
    told = metadata.resource(oauth_desk.offer(), OTHER_RESOURCE)
    assert (told["resource"], told["authorization_servers"]) == (OTHER_RESOURCE, [ISSUER])
    assert told["bearer_methods_supported"] == ["header"]


def test_a_document_is_found_by_the_path_of_what_it_is_about() -> None:
    """The well-known part comes before the path; what matches nothing is not there."""
    found = metadata.find_by_path
    assert found((ISSUER, OTHER_RESOURCE), "") == ISSUER
    assert found((ISSUER, OTHER_RESOURCE), "/api") == OTHER_RESOURCE
    assert found((ISSUER,), "/api") is None
