"""Our own signing keys on real nodes: what either of them says is proved by the key set of both, at every moment."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator

import jwt
import pytest

from keys.ring_rotation import RingTimes
from tests.support.gateway import Deployment, deployed, wait_until
from tests.support.signing import plain_request

ECHO = b"/paper/v1/echo"
KEY_SET = plain_request("GET", b"/.well-known/identity-jwks.json")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Two nodes on one store."""
    with deployed(tmp_path_factory.mktemp("rings"), nodes=2) as deployment:
        deployment.key()
        yield deployment


def key_set(deployment: Deployment, at: int) -> dict[str, jwt.PyJWK]:
    answer = deployment.nodes[at].ask(KEY_SET)
    return {key["kid"]: jwt.PyJWK(key) for key in json.loads(answer.body)["keys"]}


def statement(deployment: Deployment, at: int) -> str:
    """What this node tells the upstream now."""
    before = len(deployment.paper.requests)
    assert deployment.nodes[at].ask(deployment.key().request("GET", ECHO)).status == 200
    return deployment.paper.requests[before].all(b"portreeve-identity")[0].decode()


def signer(deployment: Deployment, at: int) -> str:
    kid: str = jwt.get_unverified_header(statement(deployment, at))["kid"]
    return kid


def prove_all(deployment: Deployment) -> None:
    """What each node says, by the key set of each."""
    for said_by in (0, 1):
        said = statement(deployment, said_by)
        for proved_by in (0, 1):
            key = key_set(deployment, proved_by)[jwt.get_unverified_header(said)["kid"]]
            assert jwt.decode(said, key, algorithms=["EdDSA"], audience="paper")["sub"] == "acme"


def test_both_nodes_prove_what_either_says_while_the_key_changes(pair: Deployment) -> None:
    """Announced, and seen by both; then, while the command runs and nodes learn of it, every single statement."""
    first = signer(pair, 0)
    refused = pair.run("rings", "activate", "--ring", "identity")
    assert (refused.returncode, "announce one first" in refused.stderr) == (1, True)
    announced = json.loads(pair.command("rings", "announce", "--ring", "identity", "--json"))[0]["kid"]
    wait_until(lambda: all(announced in key_set(pair, at) for at in (0, 1)), 5, "it is in both key sets")
    assert pair.run("rings", "activate", "--ring", "identity").returncode == 1
    assert {signer(pair, at) for at in (0, 1)} == {first}
    activating = threading.Thread(
        target=pair.command, args=("rings", "activate", "--ring", "identity", "--now")
    )
    activating.start()
    seen = set()

    def is_over() -> bool:
        prove_all(pair)
        now = {signer(pair, at) for at in (0, 1)}
        seen.update(now)
        return now == {announced}

    wait_until(is_over, 10, "both nodes sign with it")
    activating.join(10)
    assert seen == {first, announced}
    assert set(key_set(pair, 0)) == {first, announced}


def test_a_leaked_key_is_gone_from_both_nodes(pair: Deployment) -> None:
    """Within the second in which a node learns of a change, with what was said by it."""
    leaked = signer(pair, 0)
    pair.command("rings", "rotate", "--ring", "identity", "--now", "--reason", "a test")
    wait_until(lambda: all(leaked not in key_set(pair, at) for at in (0, 1)), 5, "it is in no key set")
    assert {signer(pair, at) for at in (0, 1)}.isdisjoint({leaked})
    prove_all(pair)
    ledger = json.loads(pair.command("audit", "tail", "--json"))
    told = [event for event in ledger if event["action"] == "ring_key.revoked"]
    assert [(event["subject"], event["reason"]) for event in told] == [(leaked, "a test")]


def test_a_key_set_may_be_kept_for_as_long_as_rotation_waits(pair: Deployment) -> None:
    """What the answer allows and what a new key waits for are one number."""
    answer = pair.node.ask(KEY_SET)
    allowed = re.search(r"max-age=(\d+)", answer.header("cache-control") or "")
    assert allowed is not None
    assert int(allowed[1]) * 1000 == RingTimes(lifetime_ms=30_000).cache_ms
