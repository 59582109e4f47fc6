"""Hazards, "Limits and faults": what is revoked or frozen is refused on every node within a second."""

from __future__ import annotations

import threading
import time

import pytest

from tests.support.gateway import Deployment, Node
from tests.support.signing import Signer

BOUND_SECONDS = 1.0
ORDERS = b"/paper/v1/orders"
CHANGES = {
    "key_revoked": ("keys", "revoke", "{key}"),
    "key_frozen": ("keys", "freeze", "{key}"),
    "partner_frozen": ("partners", "freeze", "{partner}"),
}


class Watch(threading.Thread):
    """Asks one node again and again, and keeps when the answer last was a pass and when first the refusal."""

    def __init__(self, node: Node, signer: Signer, code: str) -> None:
        super().__init__(daemon=True)
        self._node, self._signer, self._code = node, signer, code
        self.ended = threading.Event()
        self.last_pass = 0.0
        self.first_refusal = 0.0
        self.others: list[str] = []

    def run(self) -> None:
        with self._node.connect() as connection:
            while not self.ended.is_set():
                answer = connection.ask(self._signer.request("GET", ORDERS))
                now = time.monotonic()
                if answer.status == 200:
                    self.last_pass = now
                elif answer.code == self._code:
                    self.first_refusal = self.first_refusal or now
                else:
                    self.others.append(str(answer))
                time.sleep(0.01)


def measure(deployment: Deployment, code: str, number: int) -> float:
    """Give the command while both nodes are being asked; how long after it the last of them still passed."""
    partner = f"{code.replace('_', '-')}-{number}"
    signer = deployment.key(partner=partner)
    watches = [Watch(node, signer, code) for node in deployment.nodes]
    for watch in watches:
        watch.start()
    arguments = [part.format(key=signer.key_id, partner=partner) for part in CHANGES[code]]
    deployment.command(*arguments, "--reason", "a test of revocation")
    done = time.monotonic()
    time.sleep(1.5 * BOUND_SECONDS)
    for watch in watches:
        watch.ended.set()
        watch.join(10)
    assert not [other for watch in watches for other in watch.others]
    assert all(watch.first_refusal for watch in watches), "a node never refused"
    assert all(watch.last_pass < watch.first_refusal for watch in watches), "a refusal was taken back"
    return max(watch.first_refusal for watch in watches) - done


@pytest.mark.parametrize("code", CHANGES)
def test_a_change_is_refused_on_every_node_within_a_second(shared: Deployment, code: str) -> None:
    """Measured from the command's end; once more if a busy machine spoilt the first measurement."""
    took = measure(shared, code, 1)
    if took >= BOUND_SECONDS:
        took = measure(shared, code, 2)
    assert took < BOUND_SECONDS


def test_a_change_reaches_an_embedded_node_as_well(embedded: Deployment) -> None:
    """With SQLite and no Redis, the command line and the node share a file: the bound is the same."""
    took = measure(embedded, "key_revoked", 1)
    if took >= BOUND_SECONDS:
        took = measure(embedded, "key_revoked", 2)
    assert took < BOUND_SECONDS


def test_what_is_thawed_passes_again(shared: Deployment) -> None:
    """Freezing can be undone, on every node; revoking cannot."""
    signer = shared.key(partner="thawed")
    shared.command("keys", "freeze", signer.key_id, "--reason", "a test of freezing")
    shared.command("keys", "unfreeze", signer.key_id, "--reason", "a test of thawing")
    time.sleep(BOUND_SECONDS)
    assert [node.ask(signer.request("GET", ORDERS)).status for node in shared.nodes] == [200, 200]
    shared.command("keys", "revoke", signer.key_id, "--reason", "a test of revoking")
    again = shared.run("keys", "unfreeze", signer.key_id, "--reason", "a test of thawing")
    assert again.returncode in {0, 1}
    time.sleep(BOUND_SECONDS)
    codes = [node.ask(signer.request("GET", ORDERS)).code for node in shared.nodes]
    assert codes == ["key_revoked", "key_revoked"]
