"""Rotation that partners do not notice: both secrets pass for the overlap on every node, and then only the new one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Deployment, Node, deployed, wait_until
from tests.support.signing import Signer, new_ed25519

ORDERS = b"/paper/v1/orders"
ROTATION = {"rotation": {"check_ms": 100}}
OVERLAP_SECONDS = 4


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with deployed(tmp_path, changes=ROTATION) as one:
        yield one


class Load(threading.Thread):
    """One partner's program: signs with one secret and asks without a break."""

    def __init__(self, node: Node, signer: Signer) -> None:
        super().__init__(daemon=True)
        self._node, self._signer = node, signer
        self._ended = threading.Event()
        self.answers: list[tuple[float, int, str | None]] = []

    def run(self) -> None:
        with self._node.connect() as connection:
            while not self._ended.is_set():
                answer = connection.ask(self._signer.request("GET", ORDERS))
                self.answers.append((time.monotonic(), answer.status, answer.code))
                self._ended.wait(0.005)

    def end(self) -> None:
        self._ended.set()
        self.join(10)

    def refused(self) -> bool:
        return any(status != 200 for _, status, _ in self.answers)


def passes(node: Node, signer: Signer) -> bool:
    return node.ask(signer.request("GET", ORDERS)).status == 200


def rotate(deployment: Deployment, signer: Signer, *options: str) -> tuple[Signer, dict[str, Any]]:
    told = json.loads(deployment.command("secrets", "rotate", signer.key_id, *options, "--json"))
    return Signer(signer.key_id, signer.algorithm, told.get("secret", "")), told


def test_nobody_notices_a_rotation(deployment: Deployment) -> None:
    """Not one request of either secret fails during the overlap; the old one ends with it, as if it had never been."""
    old = deployment.key()
    before = Load(deployment.node, old)
    before.start()
    rotated_at = time.monotonic()
    new, _ = rotate(deployment, old, "--overlap", f"{OVERLAP_SECONDS}s")
    took = wait_until(lambda: passes(deployment.node, new), 2, "the new secret is served")
    after = Load(deployment.node, new)
    after.start()
    wait_until(before.refused, OVERLAP_SECONDS + 5, "the old secret is refused after its overlap")
    before.end()
    after.end()
    first = next(moment for moment, status, _ in before.answers if status != 200)
    assert first - rotated_at >= OVERLAP_SECONDS, "the old secret was refused within its overlap"
    assert {code for moment, _, code in before.answers if moment >= first} == {"bad_signature"}
    assert {status for _, status, _ in after.answers} == {200}
    assert len(before.answers) > 100
    assert len(after.answers) > 100
    assert took < 2


def test_a_version_in_use_is_not_retired_by_mistake(deployment: Deployment) -> None:
    """Used a moment ago on a node, it is known to be; the refusal says from where, and the flag goes through."""
    old = deployment.key()
    assert passes(deployment.node, old)
    new, _ = rotate(deployment, old)
    refused = deployment.run("secrets", "retire", old.key_id)
    assert refused.returncode == 1
    assert "127.0.0.1" in refused.stderr
    assert "acme" in refused.stderr
    wait_until(lambda: passes(deployment.node, new), 2, "the new secret is served")
    assert passes(deployment.node, old)
    deployment.command("secrets", "retire", old.key_id, "--even-if-used", "--reason", "agreed")
    wait_until(lambda: not passes(deployment.node, old), 1, "the old secret is refused")
    assert passes(deployment.node, new)


def test_a_public_key_is_rotated_likewise(deployment: Deployment) -> None:
    """Both private keys sign during the overlap; after the retirement only the new one."""
    old = deployment.key(algorithm="ed25519")
    seed, public = new_ed25519()
    rotate(deployment, old, "--public-key", public)
    new = Signer(old.key_id, "ed25519", seed)
    wait_until(lambda: passes(deployment.node, new), 2, "the new key is served")
    assert passes(deployment.node, old)
    deployment.command("secrets", "retire", old.key_id, "--even-if-used")
    wait_until(lambda: not passes(deployment.node, old), 1, "the old key is refused")
    assert passes(deployment.node, new)


def test_a_prepared_secret_counts_only_when_it_is_activated(deployment: Deployment) -> None:
    """Until then it is a wrong signature like any other."""
    old = deployment.key()
    new, _ = rotate(deployment, old, "--prepare")
    probe = Signer(deployment.new_key(partner="acme").key_id, "hmac-sha256", "x")
    assert probe.key_id != old.key_id
    # The key that was made after it is served, so the node knows of the prepared version, too.
    assert deployment.node.ask(new.request("GET", ORDERS)).code == "bad_signature"
    deployment.command("secrets", "activate", old.key_id)
    wait_until(lambda: passes(deployment.node, new), 2, "the new secret is served")
    assert passes(deployment.node, old)


def test_the_runbook_for_a_leaked_key(deployment: Deployment) -> None:
    """docs/runbooks/rotate-a-leaked-key.md, step by step: freeze, a new secret, the leaked one dead, unfreeze."""
    leaked = deployment.key()
    assert passes(deployment.node, leaked)
    deployment.command("keys", "freeze", leaked.key_id, "--reason", "found in a public repository")
    wait_until(
        lambda: deployment.node.ask(leaked.request("GET", ORDERS)).code == "key_frozen", 1, "it is frozen"
    )
    shown = json.loads(deployment.command("keys", "show", leaked.key_id, "--json"))
    assert shown["versions"][0]["last_used_source"] == "127.0.0.1"
    new, told = rotate(
        deployment, leaked, "--overlap", "0s", "--even-if-used", "--reason", "found in a public repository"
    )
    assert [version["state"] for version in told["versions"]] == ["revoked", "active"]
    deployment.command("keys", "unfreeze", leaked.key_id, "--reason", "has a new secret")
    wait_until(lambda: passes(deployment.node, new), 2, "the new secret is served")
    assert deployment.node.ask(leaked.request("GET", ORDERS)).code == "bad_signature"
    deployment.command("secrets", "destroy", leaked.key_id, "--version", "1", "--reason", "found")
    actions = [event["action"] for event in json.loads(deployment.command("audit", "tail", "--json"))]
    assert actions[-4:] == ["api_key.frozen", "secret.rotated", "api_key.unfrozen", "secret.destroyed"]
