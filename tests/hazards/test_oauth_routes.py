"""Access tokens on routes, from outside: what they open, what they never open, and that nobody behind sees them."""

from __future__ import annotations

import json
import threading
import time

import pytest

from tests.support import jose_by_hand as jose
from tests.support import rawhttp
from tests.support.oauth_sites import Site, base_of
from tests.support.oauth_wire import HandClient, ask
from tests.support.signing import Signer

ORDERS = "/paper/v1/orders"
READING = "orders:read"
BOUND_SECONDS = 1.0


@pytest.fixture(scope="module")
def client(oauth_embedded: Site) -> HandClient:
    return oauth_embedded.client("routes")


@pytest.fixture(scope="module")
def signer(oauth_embedded: Site) -> Signer:
    return oauth_embedded.deployment.key()


def test_a_token_opens_what_its_scope_says(client: HandClient) -> None:
    """And no more of what its client may do: the refusal names what is missing, for programs and for people."""
    made = client.token(READING).access_token
    assert client.use("GET", ORDERS, made).status == 200
    answer = client.use("POST", ORDERS, made)
    assert (answer.status, answer.code) == (403, "permission_denied")
    challenge = answer.header("www-authenticate") or ""
    assert 'error="insufficient_scope", scope="orders:write"' in challenge
    assert client.use("POST", ORDERS, client.token("orders:read orders:write").access_token).status == 200


def test_a_body_comes_with_a_token_too(client: HandClient) -> None:
    """Whole, and the proof is for the method and the address, not for the query."""
    made = client.token("orders:write orders:read").access_token
    proof = client.proof("POST", client.issuer + "/paper/v1/echo", access_token=made)
    answer = client.use("POST", "/paper/v1/echo?a=1", made, proof=proof, body=b"x" * 70_000)
    assert answer.status == 200


def test_nobody_behind_sees_the_token(oauth_embedded: Site, client: HandClient) -> None:
    """The upstream is told who it is by an assertion of ours, in which the client stands."""
    upstream = oauth_embedded.deployment.paper
    made = client.token(READING).access_token
    upstream.clear()
    assert client.use("GET", ORDERS, made).status == 200
    received = upstream.received
    assert made.encode() not in received
    assert b"dpop" not in received.lower()
    assert b"authorization" not in received.lower()
    [line] = [each for each in received.split(b"\r\n") if each.lower().startswith(b"portreeve-identity:")]
    claims = jose.parts(line.partition(b":")[2].strip().decode())[1]
    assert (claims["sub"], claims["cred"], claims["perm"]) == ("acme", client.client_id, READING)
    assert made not in oauth_embedded.deployment.node.log_text()


def test_whoami_tells_a_token_what_it_is(client: HandClient) -> None:
    """Its client, its subject, and what it may do."""
    told = client.use("GET", "/edge/v1/whoami", client.token(READING).access_token).json()
    assert (told["client"], told["subject"], told["scheme"]) == (client.client_id, client.client_id, "DPoP")
    assert (told["partner"], told["environment"], told["permissions"]) == ("acme", "paper", [READING])
    assert told["issuer"] == client.issuer
    assert "key" not in told


def test_a_request_is_signed_or_carries_a_token(client: HandClient, signer: Signer) -> None:
    """Both is refused, each alone passes; and a part of a signature is both, too."""
    made = client.token(READING).access_token
    signed = signer.headers("GET", ORDERS.encode())
    for beside in (signed, signed[:1]):
        answer = client.use("GET", ORDERS, made, headers=beside)
        assert (answer.status, answer.code) == (401, "malformed_credentials")
    assert ask(client.base, "GET", ORDERS, signer.headers("GET", ORDERS.encode())).status == 200
    basic = [*signer.headers("GET", ORDERS.encode()), ("Authorization", "Basic eDp5")]
    assert ask(client.base, "GET", ORDERS, basic).status == 200


def test_the_control_surface_takes_no_token(client: HandClient) -> None:
    """It says so, and takes nothing for it: the proof is as good as before."""
    made = client.token(READING).access_token
    proof = client.proof("GET", client.issuer + "/control/v1/partners", access_token=made)
    answer = client.use("GET", "/control/v1/partners", made, proof=proof)
    assert (answer.status, answer.code) == (401, "missing_credentials")
    assert "no tokens" in answer.json()["detail"]


@pytest.mark.parametrize(
    "authorization", ["Bearer", "Bearer ", "DPoP  x", "bearer a b", "Bearer \u00e9", "DPoP " + "a" * 9_000]
)
def test_what_is_no_token_is_refused_as_one(client: HandClient, authorization: str) -> None:
    """It is not taken for nobody: the challenge names the scheme that was used."""
    answer = ask(client.base, "GET", ORDERS, [("Authorization", authorization)])
    assert answer.status in {400, 401, 431}
    if answer.status == 401:
        assert (answer.code, answer.json()["reason"]) == ("invalid_token", "malformed")


def test_nobody_is_told_where_tokens_come_from(client: HandClient) -> None:
    """Whoever has no credentials finds the document that says it."""
    answer = ask(client.base, "GET", ORDERS)
    assert (answer.status, answer.code) == (401, "missing_credentials")
    told = answer.header("www-authenticate") or ""
    assert f'resource_metadata="{client.issuer}/.well-known/oauth-protected-resource"' in told
    assert "PORTREEVE1" in told
    document = ask(client.base, "GET", "/.well-known/oauth-protected-resource").json()
    assert document["authorization_servers"] == [client.issuer]


def test_public_routes_ask_nobody(client: HandClient) -> None:
    """Nor does a token that is none spoil one."""
    assert ask(client.base, "GET", "/pub/a", [("Authorization", "Bearer x")]).status == 200


def test_the_older_tier_reads_and_never_trades(oauth_embedded: Site) -> None:
    """A bearer token is good for its client alone that has the exception, and for reading alone."""
    client_id, key = oauth_embedded.client_by_key_alone("older")
    older = HandClient(oauth_embedded.issuer, client_id, key)
    answer = older.client_credentials(READING, proof=False)
    assert answer.status == 200, answer
    bearer = [("Authorization", f"Bearer {answer.json()['access_token']}")]
    assert ask(older.base, "GET", ORDERS, bearer).status == 200
    refused = ask(older.base, "POST", ORDERS, bearer)
    assert (refused.status, refused.code) == (403, "permission_denied")
    assert (refused.header("www-authenticate") or "").startswith("Bearer ")


class Watch(threading.Thread):
    """Asks one node again and again with one token, and keeps when it last passed and was first refused."""

    def __init__(self, client: HandClient, access_token: str) -> None:
        super().__init__(daemon=True)
        self._client, self._access_token = client, access_token
        self.ended = threading.Event()
        self.last_pass = self.first_refusal = 0.0
        self.others: list[rawhttp.Answer] = []

    def run(self) -> None:
        while not self.ended.is_set():
            answer = self._client.use("GET", ORDERS, self._access_token)
            now = time.monotonic()
            if answer.status == 200:
                self.last_pass = now
            elif answer.code == "invalid_token":
                self.first_refusal = self.first_refusal or now
            else:
                self.others.append(answer)
            time.sleep(0.01)


def until_refused(site: Site, client: HandClient, access_token: str, end: list[str] | None) -> float:
    """Asks every node all the while; how long after the end was answered the last of them still passed."""
    watches = [Watch(client.at(base_of(node)), access_token) for node in site.deployment.nodes]
    for watch in watches:
        watch.start()
    time.sleep(0.3)
    if end is None:
        assert client.post("/oauth/revoke", {"token": access_token}, proof=False).status == 200
    else:
        site.deployment.command(*end, "--reason", "a test of revocation")
    done = time.monotonic()
    time.sleep(1.5 * BOUND_SECONDS)
    for watch in watches:
        watch.ended.set()
        watch.join(10)
    assert not [str(other) for watch in watches for other in watch.others]
    assert all(watch.first_refusal for watch in watches)
    return max(watch.last_pass for watch in watches) - done


@pytest.mark.parametrize("what", ["token", "client frozen"])
def test_what_ends_a_token_is_everywhere_within_a_second(oauth_shared: Site, what: str) -> None:
    """Revoked by its client, or with its client by command: every node that served it refuses it."""
    client = oauth_shared.client(what.replace(" ", "-"))
    made = client.token(READING).access_token
    end = None if what == "token" else ["clients", "freeze", client.client_id]
    took = until_refused(oauth_shared, client, made, end)
    print(json.dumps({"what": what, "seconds": round(took, 3)}))  # noqa: T201  shown with -s
    assert took < BOUND_SECONDS


def test_five_copies_of_one_proof_on_two_nodes_pass_once(oauth_shared: Site) -> None:
    """At once, at both: one passes, the others are replays."""
    client = oauth_shared.client("copies")
    made = client.token(READING).access_token
    proof = client.proof("GET", client.issuer + ORDERS, access_token=made)
    bases = [base_of(node) for node in oauth_shared.deployment.nodes]
    answers: list[rawhttp.Answer] = []
    barrier = threading.Barrier(5)

    def once(number: int) -> None:
        there = client.at(bases[number % len(bases)])
        barrier.wait()
        answers.append(there.use("GET", ORDERS, made, proof=proof))

    threads = [threading.Thread(target=once, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted((each.status, each.code if each.status != 200 else "") for each in answers) == [
        (200, ""),
        *[(401, "replayed_request")] * 4,
    ]
