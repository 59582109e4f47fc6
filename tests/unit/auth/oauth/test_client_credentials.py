"""The client credentials grant: what a client gets for itself."""

import hashlib

import jwt
import msgspec
import pytest

from auth import jose
from tests.support import jws, oauth_clients, oauth_desk
from tests.support.oauth_desk import ISSUER, OTHER_RESOURCE, Desk


def _claims(desk: Desk, answer: oauth_desk.Known) -> oauth_desk.Known:
    """As a resource server reads it that knows nothing but our key set."""
    key = jwt.PyJWK(desk.ring.jwks()[0], algorithm="ES256")
    return jwt.decode(
        answer["access_token"],
        key,
        algorithms=["ES256"],
        options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False},
    )


async def test_6_a_token_is_typed_short_lived_for_one_audience_and_names_its_key(desk: Desk) -> None:
    """RFC 9068: `at+jwt`, `kid`, five minutes, one audience as a string, an id of its own, ES256."""
    client = await desk.made()
    answer = await desk.ask(desk.good(client))
    header, claims = jwt.get_unverified_header(answer["access_token"]), _claims(desk, answer)
    assert header == {"typ": "at+jwt", "alg": "ES256", "kid": desk.ring.get_signer().kid}
    assert (claims["iss"], claims["aud"]) == (ISSUER, ISSUER)
    assert (claims["sub"], claims["client_id"], claims["env"]) == (client.id, client.id, "paper")
    assert claims["exp"] - claims["iat"] == answer["expires_in"] == 300
    other = _claims(desk, await desk.ask(desk.good(client)))
    assert claims["jti"] != other["jti"]


async def test_6_a_token_of_a_dpop_client_is_bound_to_the_key_it_showed(desk: Desk) -> None:
    """`cnf.jkt` is the thumbprint of the proof's key, and the answer calls the token DPoP."""
    client = await desk.made()
    request = desk.request(desk.form(client), dpop=(desk.proof(key=jws.EDWARDS),))
    answer = await desk.ask(request)
    thumbprint = jose.thumbprint(jws.public_jwk(jws.EDWARDS))
    assert (answer["token_type"], _claims(desk, answer)["cnf"]) == ("DPoP", {"jkt": thumbprint})


async def test_6_a_dpop_client_gets_no_token_without_a_proof(desk: Desk) -> None:
    """FAPI: sender-constrained or none at all."""
    client = await desk.made()
    refused = await desk.refused(desk.request(desk.form(client)))
    assert (refused.error, refused.reason) == ("invalid_dpop_proof", "proof_missing")


async def test_6_a_token_of_an_mtls_client_is_bound_to_its_certificate(desk: Desk) -> None:
    """RFC 8705: `cnf.x5t#S256`, and without a certificate no token."""
    thumbprint = jose.encode(hashlib.sha256(b"certificate").digest())
    client = await desk.made(binding="mtls")
    with_it = desk.request(desk.form(client), certificate=oauth_desk.certificate(thumbprint))
    assert _claims(desk, await desk.ask(with_it))["cnf"] == {"x5t#S256": thumbprint}
    without = await desk.refused(desk.request(desk.form(client)))
    assert without.error == "invalid_request"
    both = desk.request(
        desk.form(client), certificate=oauth_desk.certificate(thumbprint), dpop=(desk.proof(),)
    )
    assert (await desk.refused(both)).reason == "proof_of_mtls_client"


async def test_6_the_resource_asked_for_is_the_one_audience(desk: Desk) -> None:
    """RFC 8707: one that is served becomes `aud`; another is `invalid_target`."""
    client = await desk.made()
    answer = await desk.ask(desk.good(client, resource=OTHER_RESOURCE))
    assert _claims(desk, answer)["aud"] == OTHER_RESOURCE
    for elsewhere in ("https://elsewhere.test", ISSUER + "/", "orders", f"{ISSUER} {OTHER_RESOURCE}"):
        assert (await desk.refused(desk.good(client, resource=elsewhere))).error == "invalid_target"


async def test_without_a_scope_a_client_gets_all_it_was_given(desk: Desk) -> None:
    """And never a permission of the control surface."""
    trader = await desk.made()
    assert (await desk.ask(desk.good(trader)))["scope"] == "orders:read orders:write"
    operator = await desk.made(roles=("operator",))
    assert (await desk.ask(desk.good(operator)))["scope"] == "orders:read"


async def test_a_scope_narrows_and_never_widens(desk: Desk) -> None:
    """What the client was not given, or what does not exist, is `invalid_scope`."""
    client = await desk.made(roles=("trader",), permissions=("orders:read",))
    assert (await desk.ask(desk.good(client, scope="orders:read")))["scope"] == "orders:read"
    for scope in ("orders:write", "orders:read orders:write", "control:keys-read", "none:such", 'a"b', " "):
        assert (await desk.refused(desk.good(client, scope=scope))).error == "invalid_scope"


async def test_3_a_client_of_the_legacy_tier_gets_no_trading_scope(desk: Desk) -> None:
    """Roles that reach trading come to the rest; asked for by name it is refused."""
    client = await desk.made(exceptions=("bearer-tokens",), binding=None, roles=("viewer",))
    served = desk.clients.find(client.id)
    assert served is not None
    answer = await desk.ask(desk.request(desk.form(client)))
    assert (answer["token_type"], answer["scope"]) == ("Bearer", "orders:read")
    asked = desk.request(desk.form(client, scope="orders:write"))
    assert (await desk.refused(asked)).error == "invalid_scope"


async def test_2_other_grants_are_not_served(desk: Desk) -> None:
    """No implicit, no password grant, and none that this client was not given."""
    client = await desk.made()
    for grant_type in (
        "password",
        "implicit",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "Client_Credentials",
    ):
        refused = await desk.refused(desk.request(desk.form(client) | {"grant_type": grant_type}))
        assert refused.error == "unsupported_grant_type"
    missing = desk.form(client)
    del missing["grant_type"]
    assert (await desk.refused(desk.request(missing))).error == "invalid_request"


async def test_a_client_uses_only_the_grants_it_was_given(desk: Desk) -> None:
    """One for people alone gets nothing for itself, and a public one never."""
    for_people = await desk.made(oauth_clients.made_for_people, grants=("authorization_code",))
    assert (await desk.refused(desk.good(for_people))).error == "unauthorized_client"
    public = await desk.made(oauth_clients.made_public)
    form = {"grant_type": "client_credentials", "client_id": public.id}
    refused = await desk.refused(desk.request(form, dpop=(desk.proof(),)))
    assert refused.error == "unauthorized_client"


async def test_who_cannot_prove_itself_gets_nothing_for_itself(desk: Desk) -> None:
    """Not even where the grant stands with the client."""
    public = await desk.made(oauth_clients.made_public)
    served = desk.clients.find(public.id)
    assert served is not None
    widened = msgspec.structs.replace(served, grants=frozenset({"client_credentials"}))
    desk.clients._shelf.clients[public.id] = widened
    request = desk.request({"grant_type": "client_credentials", "client_id": public.id}, dpop=(desk.proof(),))
    assert (await desk.refused(request)).error == "unauthorized_client"


async def test_an_answer_prints_nothing_of_a_token(desk: Desk) -> None:
    """What ends in a log by mistake holds no secret."""
    client = await desk.made()
    request = desk.good(client)
    answer = await desk.server.respond(request)
    assert answer.body["access_token"] not in repr(answer)
    assert request.form["client_assertion"] not in repr(request)


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "PS256"])
async def test_4_a_client_may_have_a_key_of_each_algorithm_of_the_profile(desk: Desk, algorithm: str) -> None:
    """PS256, ES256 and EdDSA."""
    client = await desk.made(algorithm=algorithm)
    assert (await desk.ask(desk.good(client)))["token_type"] == "DPoP"
