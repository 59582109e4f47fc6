"""Everything rotates while two nodes serve two hundred signed requests a second: not one of them fails."""

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
from tests.support.gateway import Deployment, Node, deployed, wait_until
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


class Client(threading.Thread):
    """One connection to one node, asking in an even rhythm until it is told to stop."""

    def __init__(self, node: Node, partner: Partner, number: int) -> None:
        super().__init__(daemon=True)
        self._node = node
        self._partner = partner
        self._number = number
        self.ended = threading.Event()
        self.passed = 0
        self.failures: list[str] = []

    def run(self) -> None:
        pause = CLIENTS / PER_SECOND
        due = time.monotonic() + pause * self._number / CLIENTS
        with self._node.connect() as connection:
            while not self.ended.is_set():
                due += pause
                time.sleep(max(0.0, due - time.monotonic()))
                answer = connection.ask(self._partner.signer.request("GET", ORDERS))
                if answer.status == 200:
                    self.passed += 1
                else:
                    self.failures.append(str(answer))


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


def read(deployment: Deployment, *arguments: str) -> Any:  # noqa: ANN401  JSON
    return json.loads(deployment.command(*arguments, "--json"))


def published(node: Node) -> dict[str, jwt.PyJWK]:
    answer = node.ask(plain_request("GET", b"/.well-known/identity-jwks.json"))
    return {key["kid"]: jwt.PyJWK(key) for key in answer.json()["keys"]}


def catch_up(deployment: Deployment) -> None:
    """Whoever rotates waits until all nodes have it, as the receipts tell."""
    wait_until(lambda: read(deployment, "nodes", "status")["everywhere"], 10, "every node serves the change")


def test_everything_rotates_and_nothing_fails(rotating: Deployment) -> None:
    """HMAC secrets, the identity ring and the data keys, one after another and twice over, under load on both nodes."""
    partner = Partner(rotating.key())
    key_id = partner.signer.key_id
    clients = [Client(rotating.nodes[number % 2], partner, number) for number in range(CLIENTS)]
    known: dict[str, jwt.PyJWK] = {}
    for client in clients:
        client.start()
    try:
        for _ in range(2):
            made = read(rotating, "secrets", "rotate", key_id, "--overlap", "60s", "--even-if-used")
            catch_up(rotating)
            partner.signer = Signer(key_id, "hmac-sha256", made["secret"])
            # An upstream knows a key before anything is signed by it: whoever announced it waits for that.
            read(rotating, "rings", "announce", "--ring", "identity")
            catch_up(rotating)
            known |= published(rotating.nodes[0])
            read(rotating, "rings", "activate", "--now", "--ring", "identity")
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
    assert len(read(rotating, "secrets", "list", "--kind", "api-key")[0]["versions"]) == 3


def verified(request: Recorded, known: dict[str, jwt.PyJWK]) -> str:
    """Which of the published keys signed what the upstream got."""
    (statement,) = request.all(b"portreeve-identity")
    kid: str = jwt.get_unverified_header(statement)["kid"]
    options: Any = {"verify_aud": False, "verify_exp": False}
    jwt.decode(statement, known[kid], algorithms=["EdDSA"], options=options)
    return kid
