"""Modules of the FAPI 2.0 conformance plan about DPoP: its binding to keys, its clock, and what a route refuses."""

from __future__ import annotations

import urllib.parse

from tests.support import jose_by_hand as jose
from tests.support import oauth_wire, rawhttp
from tests.support.oauth_flow import READING, Flow
from tests.support.oauth_sites import Site
from tests.support.oauth_wire import HandClient, error, issued

ROUTE = "/paper/v1/orders"


def honest(client: HandClient, access_token: str, **changes: object) -> jose.Claims:
    """The claims of a proof for the route, with the nonce that it last told."""
    return jose.proof_claims(
        "GET", client.issuer + ROUTE, access_token=access_token, nonce=client.nonces.get("routes"), **changes
    )


def with_proof(client: HandClient, access_token: str, *proofs: str, name: str = "DPoP") -> rawhttp.Answer:
    headers = [("Authorization", f"DPoP {access_token}"), *((name, proof) for proof in proofs)]
    return oauth_wire.ask(client.base, "GET", ROUTE, headers)


def test_access_token_type_header_case_sensitivity(oauth_shared: Site) -> None:
    """The scheme's name has no case."""
    client = oauth_shared.client("first")
    made = client.token(READING).access_token
    for scheme in ("dPOp", "dpop", "DPOP"):
        assert client.use("GET", ROUTE, made, scheme=scheme).status == 200


def test_check_dpop_proof_nbf_exp(oauth_shared: Site) -> None:
    """A proof may say more of its time than it must."""
    client = oauth_shared.client("first")
    at = jose.now()
    more = {"nbf": at, "exp": at + 300}
    made = issued(client.client_credentials(READING, proof_changes=more)).access_token
    assert client.use("GET", ROUTE, made).status == 200
    proof = jose.proof(client.proof_key, honest(client, made, **more))
    assert with_proof(client, made, proof).status == 200


def pass_everywhere(site: Site, seconds: int) -> None:
    """PAR, token endpoint and route alike, by a client whose clock is so far off."""
    client = site.client("first")
    client.token(READING)
    shifted = {"iat": jose.now() + seconds}
    flow = Flow(client)
    code = flow.code(site.signed_in(), proof_changes=shifted)
    by_code = issued(flow.redeem(code, proof_changes={"iat": jose.now() + seconds})).access_token
    alone = issued(
        client.client_credentials(READING, proof_changes={"iat": jose.now() + seconds})
    ).access_token
    for made in (by_code, alone):
        client.use("GET", ROUTE, made)
        proof = jose.proof(client.proof_key, honest(client, made, iat=jose.now() + seconds))
        assert with_proof(client, made, proof).status == 200


def test_ensure_dpopproof_with_iat_10seconds_before_succeeds(oauth_shared: Site) -> None:
    """A clock that is ten seconds slow is forgiven."""
    pass_everywhere(oauth_shared, -10)


def test_ensure_dpopproof_with_iat_10seconds_after_succeeds(oauth_shared: Site) -> None:
    """A clock that is ten seconds fast is forgiven."""
    pass_everywhere(oauth_shared, 10)


def test_ensure_mismatched_dpop_jkt_fails(oauth_shared: Site) -> None:
    """PAR refuses a proof by another key than `dpop_jkt` names."""
    flow = Flow(oauth_shared.client("first"))
    refused = flow.push({"dpop_jkt": jose.Key.generate().thumbprint()})
    assert error(refused) in {"invalid_request", "invalid_dpop_proof"}


def test_ensure_token_endpoint_fails_with_mismatched_dpop_proof_jkt(oauth_shared: Site) -> None:
    """A code pushed for with one key is not redeemed with another."""
    flow = Flow(oauth_shared.client("first"))
    code = flow.code(oauth_shared.signed_in())
    other = oauth_shared.with_another_proof_key(flow.client)
    assert error(flow.redeem(code, by=other)) in {"invalid_request", "invalid_grant", "invalid_dpop_proof"}


def test_ensure_token_endpoint_fails_with_mismatched_dpop_jkt(oauth_shared: Site) -> None:
    """A code bound by `dpop_jkt` alone is bound just as well."""
    flow = Flow(oauth_shared.client("first"))
    bound = {"dpop_jkt": jose.Key.generate().thumbprint()}
    code = flow.code(oauth_shared.signed_in(), bound, proof=False)
    assert error(flow.redeem(code)) in {"invalid_request", "invalid_grant", "invalid_dpop_proof"}


def test_ensure_dpopproof_at_par_endpoint_binding_success(oauth_shared: Site) -> None:
    """The key of PAR's proof redeems the code."""
    flow = Flow(oauth_shared.client("first"))
    made = issued(flow.redeem(flow.code(oauth_shared.signed_in())))
    assert made.claims["cnf"] == {"jkt": flow.client.proof_key.thumbprint()}


def test_ensure_dpop_auth_code_binding_success(oauth_shared: Site) -> None:
    """So does the key that `dpop_jkt` names, with a proof at PAR and without."""
    flow = Flow(oauth_shared.client("first"))
    bound = {"dpop_jkt": flow.client.proof_key.thumbprint()}
    assert flow.redeem(flow.code(oauth_shared.signed_in(), bound)).status == 200
    again = Flow(flow.client)
    assert again.redeem(again.code(oauth_shared.signed_in(), bound, proof=False)).status == 200


def broken_proofs(client: HandClient, access_token: str) -> dict[str, tuple[str, ...]]:
    """Each wrong in one thing, by what that is."""
    key, claims = client.proof_key, honest(client, access_token)

    def fresh(**changes: object) -> jose.Claims:
        return honest(client, access_token, **changes)

    def lacking(name: str) -> str:
        return jose.proof(key, jose.without(fresh(), name))

    unsigned = {"typ": "dpop+jwt", "alg": "none", "jwk": key.public_jwk()}
    rsa = jose.Key.generate("RS256")
    other = jose.Key.generate()
    sound = jose.proof(key, fresh())
    return {
        "two proofs": (jose.proof(key, fresh()), jose.proof(key, fresh())),
        "not a JWT": ("not-a-proof",),
        "not well-formed": (sound.replace(".", "", 1),),
        "no typ": (jose.proof(key, fresh(), typ=None),),
        "no alg": (key.sign(fresh(), typ="dpop+jwt", jwk=key.public_jwk(), alg=None, kid=None),),
        "no jwk": (jose.proof(key, fresh(), jwk=None),),
        **{f"no {name}": (lacking(name),) for name in ("jti", "htm", "htu", "iat", "ath")},
        "another typ": (jose.proof(key, fresh(), typ="JWT"),),
        "RS256": (jose.proof(rsa, fresh()),),
        "alg none": (f"{jose.encode_json(unsigned)}.{jose.encode_json(fresh())}.",),
        "another signature": (sound.rpartition(".")[0] + "." + sound.rpartition(".")[2][::-1],),
        "a private key": (jose.proof(key, fresh(), jwk=jose.without(key.private_jwk(), "alg", "use")),),
        "another method": (jose.proof(key, fresh(htm="PUT")),),
        "another address": (jose.proof(key, fresh(htu=client.issuer + "/paper/v1/echo")),),
        "an hour ahead": (jose.proof(key, fresh(iat=jose.now() + 3600)),),
        "an hour ago": (jose.proof(key, fresh(iat=jose.now() - 3600)),),
        "another token's ath": (jose.proof(key, fresh(ath=jose.digest("another"))),),
        "another key": (jose.proof(other, claims),),
        "no proof": (),
    }


def sound_proofs(client: HandClient, access_token: str) -> dict[str, str]:
    """Each unusual in one thing that takes nothing from it."""
    key, url = client.proof_key, client.issuer + ROUTE
    parts = urllib.parse.urlsplit(url)

    def fresh(**changes: object) -> jose.Claims:
        return honest(client, access_token, **changes)

    return {
        "query and fragment": jose.proof(key, fresh(htu=url + "?a=b#c")),
        "capitals": jose.proof(key, fresh(htu=f"HTTP://{parts.netloc.upper()}{parts.path}")),
        "more members": jose.proof(key, fresh(unknown="yes"), unknown="yes"),
    }


def test_dpop_negative_tests(oauth_shared: Site) -> None:
    """One thing changed at a time; and at the end an honest proof still passes."""
    client = oauth_shared.client("first")
    made = client.token(READING).access_token
    assert client.use("GET", ROUTE, made).status == 200
    proof = jose.proof(client.proof_key, honest(client, made))
    assert with_proof(client, made, proof, name="DPOP").status == 200
    assert with_proof(client, made, proof).status == 401, "the same jti"
    for what, proofs in broken_proofs(client, made).items():
        assert with_proof(client, made, *proofs).status in {400, 401}, what
    for what, sound in sound_proofs(client, made).items():
        answer = with_proof(client, made, sound)
        assert answer.status == 200, (what, str(answer))
    bearer = oauth_wire.ask(client.base, "GET", ROUTE, [("Authorization", f"Bearer {made}")])
    assert bearer.status == 401
    assert client.use("GET", ROUTE, made).status == 200
    assert (
        client.use(
            "GET", ROUTE + "?limit=1", made, proof=jose.proof(client.proof_key, honest(client, made))
        ).status
        == 200
    )
