"""Access tokens and client assertions as an attacker would make them: with npm's `jose`, and by hand.

Each is right in all but one thing, and stands beside an honest one that passes, so that a refusal is for that thing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import jose_by_hand as jose
from tests.support import js_clients, optional, rawhttp
from tests.support.oauth_flow import READING
from tests.support.oauth_sites import Site
from tests.support.oauth_wire import ASSERTION_TYPE, HandClient, ask, error, post_form

ROUTE = "/paper/v1/orders"
Honest = tuple[str, dict[str, Any], dict[str, Any]]
NOBODY = {"invalid_client", "invalid_request"}


@pytest.fixture(scope="module")
def forger() -> Iterator[js_clients.Conversation]:
    """`jose` in a process of its own."""
    optional.require("js_clients")
    conversation = js_clients.Conversation("hostile.mjs")
    yield conversation
    conversation.close()


@pytest.fixture(scope="module")
def client(oauth_embedded: Site) -> HandClient:
    made = oauth_embedded.client("honest")
    made.token(READING)
    return made


@pytest.fixture(scope="module")
def honest(client: HandClient) -> Honest:
    """An access token that passes, its header and its claims."""
    made = client.token(READING).access_token
    assert client.use("GET", ROUTE, made).status == 200
    header, claims = jose.parts(made)
    return made, header, claims


def published(client: HandClient) -> dict[str, str]:
    """The key that access tokens are verified with, as everybody can read it."""
    keys = ask(client.base, "GET", "/.well-known/jwks.json").json()["keys"]
    found: dict[str, str] = keys[0]
    return found


def refused(client: HandClient, access_token: str, scheme: str = "DPoP") -> bool:
    """With an honest proof for whatever it is."""
    answer = client.use("GET", ROUTE, access_token, scheme=scheme)
    challenge = answer.header("www-authenticate") or ""
    return (answer.status, answer.code) == (401, "invalid_token") and 'error="invalid_token"' in challenge


def as_pem(jwk: dict[str, str]) -> str:
    """What a library that takes the text of a public key for a secret would be fed."""
    return f"-----BEGIN PUBLIC KEY-----\n{jwk['x']}{jwk['y']}\n-----END PUBLIC KEY-----\n"


def test_a_public_key_is_no_secret(
    client: HandClient, honest: Honest, forger: js_clients.Conversation
) -> None:
    """HS256 with our published key as its secret, in each form that it has."""
    jwk = published(client)
    for text in (
        json.dumps(jwk),
        json.dumps(jwk, separators=(",", ":")),
        as_pem(jwk),
        jwk["x"],
        jose.encode_json(jwk),
    ):
        for alg in ("HS256", "HS384", "HS512"):
            header = honest[1] | {"alg": alg}
            assert refused(
                client, forger.ask("sign_with_text", header=header, claims=honest[2], text=text * 3)
            )
    assert refused(client, jose.with_hmac(honest[1] | {"alg": "HS256"}, honest[2], json.dumps(jwk).encode()))


def test_none_is_no_algorithm(client: HandClient, honest: Honest, forger: js_clients.Conversation) -> None:
    """In any spelling, with a signature and without."""
    assert refused(client, forger.ask("unsecured", claims=honest[2]))
    signature = honest[0].rpartition(".")[2]
    for alg in ("none", "None", "NONE", "nOnE", ""):
        head = f"{jose.encode_json(honest[1] | {'alg': alg})}.{jose.encode_json(honest[2])}"
        assert refused(client, f"{head}.")
        assert refused(client, f"{head}.{signature}")


@pytest.mark.parametrize(
    "member",
    [
        {"jwk": "own"},
        {"jku": "http://127.0.0.1:9/jwks.json"},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/cert.pem"},
        {"x5c": ["MIIB"]},
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": False},
        {"zip": "DEF"},
    ],
    ids=str,
)
def test_a_key_that_comes_along_is_not_used(
    client: HandClient, honest: Honest, member: dict[str, Any]
) -> None:
    """Nor is an address of one fetched, nor an extension understood."""
    own = jose.Key.generate("ES256", honest[1]["kid"])
    said = {"jwk": own.public_jwk()} if member.get("jwk") == "own" else member
    assert refused(client, own.sign(honest[2], **(honest[1] | said)))


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/etc/passwd",
        "' OR '1'='1",
        "1; DROP TABLE secrets; --",
        "a" * 10_000,
        "",
        "\x00",
        "é",
        7,
    ],
    ids=lambda kid: str(kid)[:12],
)
def test_a_kid_is_a_name_and_nothing_else(client: HandClient, honest: Honest, kid: object) -> None:
    """A path, SQL, ten kilobytes, nothing, or no text: unknown, like any other."""
    own = jose.Key.generate("ES256")
    answer = client.use("GET", ROUTE, own.sign(honest[2], **(honest[1] | {"kid": kid})))
    assert answer.status in {401, 431}
    assert refused(client, own.sign(honest[2], **(honest[1] | {"kid": None})))


def test_somebody_elses_key_under_our_name(
    client: HandClient, honest: Honest, forger: js_clients.Conversation
) -> None:
    """The right `kid`, the right claims, another key: of the same kind and of others."""
    for alg in ("ES256", "PS256", "RS256", "Ed25519"):
        private = forger.ask("generate", alg=alg)["private"]
        made = forger.ask("sign", header=honest[1] | {"alg": alg}, claims=honest[2], jwk=private, alg=alg)
        assert refused(client, made), alg


def test_a_changed_token_is_no_token(client: HandClient, honest: Honest) -> None:
    """One claim widened under the old signature; a signature cut short, or of zeros."""
    header, _, signature = honest[0].split(".")
    for change in ({"scope": "orders:read orders:write"}, {"exp": jose.now() + 86_400}, {"env": "live"}):
        assert refused(client, f"{header}.{jose.encode_json(honest[2] | change)}.{signature}")
    body = honest[0].rpartition(".")[0]
    for forged in ("", signature[:-4], jose.encode(bytes(64)), jose.encode(bytes(63)), signature + signature):
        assert refused(client, f"{body}.{forged}")


def variants(compact: str) -> list[str]:
    """The same bytes, spelt differently."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spelt = [
        compact + "=",
        compact + "==",
        compact.replace(".", "=.", 1),
        compact.replace("_", "/").replace("-", "+"),
    ]
    last = alphabet.index(compact[-1])
    spelt += [
        compact[:-1] + alphabet[last ^ bit] for bit in (1, 2, 3)
    ]  # bits that no byte of the signature has
    return [one for one in spelt if one != compact]


def test_a_revoked_token_does_not_come_back_in_another_spelling(client: HandClient) -> None:
    """Padding, another alphabet and loose bits are no token before it is revoked, and none after."""
    made = client.token(READING).access_token
    answered = [client.use("GET", ROUTE, spelling).status for spelling in variants(made)]
    assert set(answered) <= {400, 401}
    assert client.post("/oauth/revoke", {"token": made}, proof=False).status == 200
    assert refused(client, made)
    assert all(client.use("GET", ROUTE, spelling).status in {400, 401} for spelling in variants(made))
    assert client.use("GET", ROUTE, client.token(READING).access_token).status == 200


def test_what_else_is_signed_here_is_no_access_token(oauth_embedded: Site, client: HandClient) -> None:
    """An identity assertion, a client assertion, a proof; each also with an access token's `typ` before it."""
    made = client.token(READING).access_token
    oauth_embedded.deployment.paper.clear()
    assert client.use("GET", ROUTE, made).status == 200
    received = oauth_embedded.deployment.paper.received.decode("latin-1")
    [identity] = [
        line.partition(":")[2].strip()
        for line in received.splitlines()
        if line.lower().startswith("portreeve-identity:")
    ]
    for other in (
        identity,
        client.assertion(),
        client.proof("GET", client.issuer + ROUTE, access_token=made),
    ):
        assert refused(client, other)
    claims = jose.parts(made)[1]
    for kind in ("JWT", "jwt", None, "portreeve-identity+jwt", "dpop+jwt"):
        assert refused(client, client.key.sign(claims, typ=kind))


def test_an_access_token_is_nothing_else(client: HandClient) -> None:
    """Neither a client's assertion nor a proof."""
    made = client.token(READING).access_token
    assert error(client.client_credentials(READING, assertion=made)) in NOBODY
    assert client.use("GET", ROUTE, made, proof=made).status == 401


def test_paper_does_not_open_live(client: HandClient) -> None:
    """An access token has its environment from its client."""
    answer = client.use("GET", "/live/v1/orders", client.token(READING).access_token)
    assert (answer.status, answer.code) == (403, "environment_mismatch")


def test_tokens_stand_in_one_header_alone(client: HandClient) -> None:
    """Not in the query, not in a form, not twice, not oversized."""
    made = client.token(READING).access_token
    proof = [("DPoP", client.proof("GET", client.issuer + ROUTE, access_token=made))]
    assert ask(client.base, "GET", f"{ROUTE}?access_token={made}", proof).status in {400, 401}
    own = ("Authorization", f"DPoP {made}")
    assert ask(client.base, "GET", ROUTE, [own, own, *proof]).status == 400
    assert client.use("GET", ROUTE, made + "A" * 8_192).status in {400, 401, 431}


def forged_assertions(client: HandClient, forger: js_clients.Conversation) -> Iterator[tuple[str, str]]:
    at = jose.now()
    claims = jose.assertion_claims(client.client_id, client.issuer)
    jwk = client.key.public_jwk()
    header = {"alg": "ES256", "kid": client.key.kid}
    other = jose.Key.generate("ES256", client.key.kid)
    yield "none", forger.ask("unsecured", claims=claims)
    for text in (json.dumps(jwk), as_pem(jwk)):
        confused = {"alg": "HS256", "kid": client.key.kid}
        yield "hmac", forger.ask("sign_with_text", header=confused, claims=claims, text=text)
    yield "own jwk", other.sign(claims, jwk=other.public_jwk())
    yield "jku", other.sign(claims, jku="https://evil.example/jwks.json")
    yield "another key", other.sign(claims)
    yield "crit", client.key.sign(claims, crit=["exp"])
    yield "not an object", forger.ask("sign_text", header=header, payload="[]", jwk=client.key.private_jwk())
    yield "not JSON", forger.ask("sign_text", header=header, payload="{", jwk=client.key.private_jwk())
    twice = json.dumps(claims)[:-1] + ', "sub": "prc_paper_another"}'
    yield (
        "a member twice",
        forger.ask("sign_text", header=header, payload=twice, jwk=client.key.private_jwk()),
    )
    changes: dict[str, dict[str, Any]] = {
        "another issuer": {"iss": "prc_paper_another"},
        "another subject": {"sub": "prc_paper_another"},
        "another audience": {"aud": client.issuer + "/"},
        "audiences": {"aud": [client.issuer]},
        "no audience": {"aud": None},
        "no end": {"exp": None},
        "a far end": {"exp": at + 3_600},
        "an end in words": {"exp": "tomorrow"},
        "an endless end": {"exp": 1e400},
        "long over": {"exp": at - 61},
        "from the future": {"iat": at + 61},
        "not yet": {"nbf": at + 61},
        "no jti": {"jti": None},
        "an empty jti": {"jti": ""},
    }
    for what, change in changes.items():
        yield what, client.assertion(**change)


def test_forged_client_assertions_open_nothing(client: HandClient, forger: js_clients.Conversation) -> None:
    """Each is wrong in one thing; the honest one before and after passes."""
    assert client.client_credentials(READING, assertion=client.assertion()).status == 200
    for what, made in forged_assertions(client, forger):
        answer = client.client_credentials(READING, assertion=made)
        assert error(answer) in NOBODY, (what, str(answer))
    assert client.client_credentials(READING, assertion=client.assertion()).status == 200


def test_an_assertion_is_used_once(client: HandClient) -> None:
    """Also with another proof, and at another endpoint."""
    made = client.assertion()
    assert client.client_credentials(READING, assertion=made).status == 200
    assert error(client.client_credentials(READING, assertion=made)) in NOBODY
    assert error(client.post("/oauth/revoke", {"token": "x"}, proof=False, assertion=made)) in NOBODY


def test_a_repeated_parameter_is_refused(client: HandClient) -> None:
    """Two readings of one request are one too many; so is a parameter in the address."""
    form = [("grant_type", "client_credentials"), ("client_assertion_type", ASSERTION_TYPE)]
    form += [("client_assertion", client.assertion()), ("scope", READING), ("scope", "orders:write")]
    assert error(_posted(client, "/oauth/token", form)) == "invalid_request"
    assert error(_posted(client, "/oauth/token?scope=orders:write", form[:-1])) == "invalid_request"


def _posted(client: HandClient, target: str, form: list[tuple[str, str]]) -> rawhttp.Answer:
    return post_form(
        client.base, target, form, [("DPoP", client.proof("POST", client.issuer + "/oauth/token"))]
    )
