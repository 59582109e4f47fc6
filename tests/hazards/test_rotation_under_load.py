"""Everything rotates while two nodes serve two hundred signed requests a second, and tokens: not one of them fails."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.hazards.conftest import new_database
from tests.support import gateway_config
from tests.support import jose_by_hand as jose
from tests.support.gateway import Deployment, Node, deployed, wait_until
from tests.support.oauth_sites import base_of
from tests.support.oauth_wire import HandClient
from tests.support.rawhttp import Answer
from tests.support.recording_upstream import Recorded
from tests.support.servers import PostgresServer, RedisServer
from tests.support.signing import Signer, plain_request

ORDERS = b"/paper/v1/orders"
PER_SECOND = 200
CLIENTS = 8


class Partner:
    """Who signs: with the newest secret that they were given, from the moment on which they have it."""

    def __init__(self, signer: Signer) -> None:
        self.signer = signer


class Caller(threading.Thread):
    """Asks in an even rhythm until it is told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.passed = 0
        self.failures: list[str] = []

    def note(self, answer: Answer) -> None:
        if answer.status == 200:
            self.passed += 1
        else:
            self.failures.append(str(answer))


class Client(Caller):
    """Signs each request, over one connection to one node."""

    def __init__(self, node: Node, partner: Partner, number: int) -> None:
        super().__init__()
        self._node = node
        self._partner = partner
        self._number = number

    def run(self) -> None:
        pause = CLIENTS / PER_SECOND
        due = time.monotonic() + pause * self._number / CLIENTS
        with self._node.connect() as connection:
            while not self.ended.is_set():
                due += pause
                time.sleep(max(0.0, due - time.monotonic()))
                self.note(connection.ask(self._partner.signer.request("GET", ORDERS)))


class TokenClient(Caller):
    """Gets an access token of one node each time, and shows it to the other one, and the first that it got to both."""

    def __init__(self, client: HandClient, issuing: Node, serving: Node) -> None:
        super().__init__()
        self._issuing, self._serving = client.at(base_of(issuing)), client.at(base_of(serving))
        self.signed_by: set[str] = set()

    def run(self) -> None:
        first = self._issuing.token().access_token
        while not self.ended.wait(0.2):
            issued = self._issuing.client_credentials()
            self.note(issued)
            if issued.status != 200:
                continue
            fresh: str = issued.json()["access_token"]
            self.signed_by.add(jose.parts(fresh)[0]["kid"])
            target = ORDERS.decode()
            self.note(self._serving.use("GET", target, fresh))
            self.note(self._serving.use("GET", target, first))
            self.note(self._issuing.use("GET", target, first))


@pytest.fixture
def rotating(
    tmp_path: Path, redis_server: RedisServer, postgres_server: PostgresServer
) -> Iterator[Deployment]:
    """Two nodes on a store of their own."""
    storage = new_database(postgres_server)
    # What fails here is to be a rotation's doing: a machine that is busy elsewhere keeps a request waiting, too.
    patient = {"redis": {"timeout_ms": 10_000}}
    with deployed(tmp_path, storage=storage, redis=redis_server.url, nodes=2, changes=patient) as deployment:
        yield deployment


def make_client(deployment: Deployment) -> HandClient:
    """A client of the same partner, that both nodes know."""
    key = jose.Key.generate("ES256", "rotates")
    file = deployment.directory / "client.jwk"
    file.write_text(json.dumps(key.registered_jwk()))
    asked = ("--partner", "acme", "--environment", "paper", "--name", "rotates", "--jwks", str(file))
    made = read(deployment, "clients", "create", *asked, "--role", "trader", "--grant", "client_credentials")
    catch_up(deployment)
    return HandClient(gateway_config.ISSUER, made["id"], key)


def read(deployment: Deployment, *arguments: str) -> Any:  # noqa: ANN401  JSON
    return json.loads(deployment.command(*arguments, "--json"))


def published(node: Node) -> dict[str, jwt.PyJWK]:
    answer = node.ask(plain_request("GET", b"/.well-known/identity-jwks.json"))
    return {key["kid"]: jwt.PyJWK(key) for key in answer.json()["keys"]}


def catch_up(deployment: Deployment) -> None:
    """Whoever rotates waits until all nodes have it, as the receipts tell."""
    wait_until(lambda: read(deployment, "nodes", "status")["everywhere"], 10, "every node serves the change")


def test_everything_rotates_and_nothing_fails(rotating: Deployment) -> None:
    """HMAC secrets, the rings of assertions and of access tokens, and the data keys, one after another and twice over,
    under load on both nodes.
    """
    partner = Partner(rotating.key())
    key_id = partner.signer.key_id
    signing = [Client(rotating.nodes[number % 2], partner, number) for number in range(CLIENTS)]
    app, pairs = make_client(rotating), (rotating.nodes, rotating.nodes[::-1])
    bearing = [TokenClient(app, *pair) for pair in pairs]
    clients: list[Caller] = [*signing, *bearing]
    known: dict[str, jwt.PyJWK] = {}
    for client in clients:
        client.start()
    try:
        for _ in range(2):
            made = read(rotating, "secrets", "rotate", key_id, "--overlap", "60s", "--even-if-used")
            catch_up(rotating)
            partner.signer = Signer(key_id, "hmac-sha256", made["secret"])
            # An upstream knows a key before anything is signed by it: whoever announced it waits for that.
            for ring in ("identity", "access"):
                read(rotating, "rings", "announce", "--ring", ring)
            catch_up(rotating)
            known |= published(rotating.nodes[0])
            for ring in ("identity", "access"):
                read(rotating, "rings", "activate", "--now", "--ring", ring)
            read(rotating, "kms", "rotate", "paper")
            read(rotating, "kms", "rotate", "service")
            catch_up(rotating)
            read(rotating, "kms", "reseal")
            catch_up(rotating)
            time.sleep(0.5)
    finally:
        for client in clients:
            client.ended.set()
        for client in clients:
            client.join(10)
    assert [failure for client in clients for failure in client.failures] == []
    assert all(client.passed for client in clients)
    signed_by = {verified(request, known) for request in rotating.paper.requests}
    assert len(signed_by) == 3
    assert [len(client.signed_by) for client in bearing] == [3, 3]
    assert len(read(rotating, "secrets", "list", "--kind", "api-key")[0]["versions"]) == 3


def verified(request: Recorded, known: dict[str, jwt.PyJWK]) -> str:
    """Which of the published keys signed what the upstream got."""
    (statement,) = request.all(b"portreeve-identity")
    kid: str = jwt.get_unverified_header(statement)["kid"]
    options: Any = {"verify_aud": False, "verify_exp": False}
    jwt.decode(statement, known[kid], algorithms=["EdDSA"], options=options)
    return kid
