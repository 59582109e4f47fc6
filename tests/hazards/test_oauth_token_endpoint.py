"""The token endpoint over sockets: what it refuses to read, what it never tells, and what counts on every node."""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Iterator, Sequence

import pytest

from tests.support import jose_by_hand as jose
from tests.support import rawhttp
from tests.support.gateway import wait_until
from tests.support.oauth_sites import Site, base_of
from tests.support.oauth_wire import FORM, HandClient, ask, error, post_form

TOKEN = "/oauth/token"
NOBODY = "prc_paper_0000000000000000000000000000"
Headers = Sequence[tuple[str, str]]


@pytest.fixture(scope="module")
def client(oauth_embedded: Site) -> HandClient:
    return oauth_embedded.client("endpoint")


def posted(
    client: HandClient, body: bytes, headers: Headers = (FORM,), target: str = TOKEN
) -> rawhttp.Answer:
    return ask(client.base, "POST", target, headers, body)


def good_body(client: HandClient) -> bytes:
    form = {"grant_type": "client_credentials", **client.authentication()}
    return urllib.parse.urlencode(form).encode()


def test_13_repeated_parameters_are_refused_however_they_are_spelt(client: HandClient) -> None:
    """Twice the same, once in escapes, once empty; the client is not even looked at."""
    for more in (
        b"&grant_type=client_credentials",
        b"&%67rant_type=password",
        b"&grant_type=",
        b"&scope=a&scope=b",
    ):
        assert error(posted(client, good_body(client) + more)) == "invalid_request"


def test_13_parameters_in_the_query_are_refused(client: HandClient) -> None:
    """All of them there, or one beside the body."""
    body = good_body(client)
    assert error(posted(client, b"", target=f"{TOKEN}?{body.decode()}")) == "invalid_request"
    assert error(posted(client, body, target=f"{TOKEN}?scope=orders:read")) == "invalid_request"


def test_13_an_oversized_assertion_or_body_is_refused(client: HandClient) -> None:
    """More than 8 KiB of a token before it is parsed, more than 32 KiB of a form before that, 64 KiB at once."""
    large = client.key.sign(jose.assertion_claims(client.client_id, client.issuer, padding="x" * 9_000))
    assert error(client.client_credentials(assertion=large)) == "invalid_client"
    for size in (40_000, 100_000):
        answer = posted(client, good_body(client) + b"&x=" + b"x" * size)
        assert (answer.status, answer.json()["error"]) == (413, "invalid_request")


def test_another_content_type_is_refused(client: HandClient) -> None:
    """JSON, a part of many, none, and an encoded body."""
    for headers in (
        [("Content-Type", "application/json")],
        [("Content-Type", "multipart/form-data; boundary=x")],
        [],
        [FORM, ("Content-Encoding", "gzip")],
    ):
        answer = posted(client, good_body(client), headers)
        assert (answer.status, answer.json()["error"]) == (415, "invalid_request")


def test_13_nobody_may_keep_an_answer(client: HandClient) -> None:
    """`no-store`, on success and on refusal alike."""
    for answer in (client.client_credentials(), posted(client, b"grant_type=password")):
        assert answer.header("cache-control") == "no-store"
        assert answer.header("content-type") == "application/json"


def test_unknown_clients_and_wrong_proofs_hear_the_same(oauth_embedded: Site, client: HandClient) -> None:
    """To the byte, but for what names the request."""
    forger = HandClient(client.issuer, client.client_id, jose.Key.generate(kid="endpoint"))
    unknown = HandClient(client.issuer, NOBODY, client.key)
    by_secret = oauth_embedded.client_by_secret("legacy")

    def basic(client_id: str, secret: str) -> rawhttp.Answer:
        both = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
        form = {"grant_type": "client_credentials"}
        return post_form(client.base, TOKEN, form, [("Authorization", f"Basic {both}")])

    for pair in (
        (forger.client_credentials(proof=False), unknown.client_credentials(proof=False)),
        (basic(by_secret["client_id"], "pcs_paper_wrong"), basic(NOBODY, "pcs_paper_wrong")),
    ):
        told = {(each.status, each.body, tuple(sorted(name for name, _ in each.headers))) for each in pair}
        assert len(told) == 1
        assert pair[0].status == 401


def test_a_log_line_names_the_client_and_no_secret(oauth_embedded: Site, client: HandClient) -> None:
    """Of a token that was issued, and of a refusal its reason; neither token, assertion nor proof."""
    issued = client.token()
    assertion = client.assertion(aud=[client.issuer])
    refused = client.client_credentials(assertion=assertion)
    node = oauth_embedded.deployment.node
    request_id = refused.all("portreeve-request-id")[0]
    wait_until(lambda: request_id in node.log_text(), 30, "the line is written")
    lines = [line for line in node.log_lines() if line.get("path") == TOKEN]
    told = next(line for line in lines if line["request_id"] == request_id)
    assert (told["decision"], told["reason"], told["status"]) == ("refused", "assertion_audience", 401)
    assert any(line["credential"] == client.client_id and line["status"] == 200 for line in lines)
    text = node.log_text()
    for secret in (issued.access_token, assertion):
        assert secret not in text


def test_11_a_nonce_of_one_node_is_good_on_the_other(oauth_shared: Site) -> None:
    """Nonces are kept nowhere: all nodes make the same ones."""
    client = oauth_shared.client("nonces")
    first, second = (client.at(base) for base in oauth_shared.bases()[:2])
    first.token()
    second.nonces = dict(first.nonces)
    body = second.authentication() | {"grant_type": "client_credentials"}
    proof = second.proof("POST", second.issuer + TOKEN)
    assert post_form(second.base, TOKEN, body, [("DPoP", proof)]).status == 200


def test_12_introspection_tells_of_a_revocation_on_every_node(oauth_shared: Site) -> None:
    """At once: it asks the store."""
    client, other = oauth_shared.client("asks"), oauth_shared.client("others")
    token = client.token().access_token
    nodes = [client.at(base) for base in oauth_shared.bases()]

    def told(by: HandClient) -> dict[str, object]:
        return by.post("/oauth/introspect", {"token": token}, proof=False).json()

    assert [told(node)["active"] for node in nodes] == [True] * len(nodes)
    assert told(other) == {"active": False}
    assert other.post("/oauth/revoke", {"token": token}, proof=False).status == 200
    assert told(client)["active"] is True
    assert client.post("/oauth/revoke", {"token": token}, proof=False).status == 200
    assert [told(node) for node in nodes] == [{"active": False}] * len(nodes)


def test_12_introspection_and_revocation_want_to_know_who_asks(client: HandClient) -> None:
    """And what about."""
    for path in ("/oauth/introspect", "/oauth/revoke"):
        assert error(post_form(client.base, path, {"token": "x"})) == "invalid_client"
        assert error(client.post(path, {}, proof=False)) == "invalid_request"


def test_1_the_metadata_leads_to_what_is_served(client: HandClient) -> None:
    """The exact issuer; every endpoint that is named answers, and none of them with a page."""
    for path in ("/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource"):
        answer = ask(client.base, "GET", path)
        assert answer.header("cache-control") == "public, max-age=300"
    told = ask(client.base, "GET", "/.well-known/oauth-authorization-server").json()
    assert told["issuer"] == client.issuer
    for name in ("token_endpoint", "introspection_endpoint", "revocation_endpoint"):
        target = told[name].removeprefix(client.issuer)
        assert posted(client, b"", target=target).status in {400, 401}
    assert ask(client.base, "GET", "/.well-known/oauth-authorization-server/other").status == 404


@pytest.fixture
def narrow(oauth_shared: Site) -> Iterator[str]:
    """One more node, that lets a client ask three times, and then once an hour."""
    few = {"oauth": {"client_limit": {"rate": 1, "per": "1h", "burst": 3}}}
    node = oauth_shared.deployment.serve(changes=few)
    yield base_of(node)
    node.stop()
    oauth_shared.deployment.nodes.remove(node)


def test_whoever_asks_too_often_is_told_when_to_come_again(oauth_shared: Site, narrow: str) -> None:
    """429 as an error of RFC 6749, with Retry-After; nobody else has to wait."""
    client, other = (oauth_shared.client(name).at(narrow) for name in ("asks", "others"))
    form = {"grant_type": "client_credentials"}
    limited = [client.post(TOKEN, form, proof=False) for _ in range(5)][-1]
    assert (limited.status, limited.json()["error"]) == (429, "temporarily_unavailable")
    assert 0 < int(limited.header("retry-after") or 0) <= 3600
    assert other.post(TOKEN, form, proof=False).status == 400
