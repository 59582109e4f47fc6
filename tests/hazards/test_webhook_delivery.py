"""Hazards: a partner is told of what happened to its keys by real nodes, and a killed one loses nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks

from tests.support.gateway import CommandFailed, Deployment, deployed, wait_until
from tests.support.recording_upstream import Exchange, RecordingUpstream, answering

DELIVERED = b"HTTP/1.1 204 No Content\r\n\r\n"
CHANGES = {
    "webhooks": {
        "allow_http_loopback": True,
        "poll_ms": 50,
        "total_ms": 500,
        "connect_ms": 500,
        "retry_after_s": [1, 1],
    }
}
WITHIN = 15


@pytest.fixture
def target() -> Iterator[RecordingUpstream]:
    upstream = RecordingUpstream(answering(DELIVERED))
    yield upstream
    upstream.stop()


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with deployed(tmp_path, changes=CHANGES) as made:
        yield made


def create(deployment: Deployment, target: RecordingUpstream) -> dict[str, Any]:
    deployment.partner("acme")
    url = f"{target.url}/hook?key=partners-own-secret"
    made: dict[str, Any] = json.loads(
        deployment.command("webhooks", "create", "--partner", "acme", "--url", url, "--json")
    )
    return made


def revoke_a_key(deployment: Deployment) -> str:
    key = deployment.new_key(partner="acme")
    deployment.command("keys", "revoke", key.key_id, "--reason", "operators-own-words")
    return key.key_id


def deliveries(deployment: Deployment, webhook: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        deployment.command("webhooks", "deliveries", webhook["id"], "--json")
    )
    return found


def test_a_partner_is_told_and_can_prove_who_told_it(
    deployment: Deployment, target: RecordingUpstream
) -> None:
    """The library's verification accepts it; no log and no ledger has the secret or the partner's URL."""
    webhook = create(deployment, target)
    key_id = revoke_a_key(deployment)
    wait_until(lambda: target.requests, WITHIN, "the partner is told")
    (told,) = target.requests
    headers = {name.decode().lower(): value.decode() for name, value in told.headers}
    message = standardwebhooks.Webhook(webhook["secret"]).verify(told.body, headers)
    assert (message["type"], message["data"]) == ("key.revoked", {"key": key_id, "environment": "paper"})
    assert b"operators-own-words" not in target.received
    wait_until(lambda: deliveries(deployment, webhook)[0]["state"] == "delivered", WITHIN, "it is settled")
    ledger = deployment.command("audit", "tail", "--limit", "1000", "--json")
    for hidden in (webhook["secret"], "partners-own-secret"):
        assert hidden not in ledger + deployment.node.log_text()


def test_a_node_killed_in_the_middle_of_a_delivery_loses_nothing(
    deployment: Deployment, target: RecordingUpstream
) -> None:
    """Its successor tells the partner again, with the same id, once the attempt is taken for lost."""
    webhook = create(deployment, target)
    asked, released = threading.Event(), threading.Event()

    def never(exchange: Exchange) -> None:
        exchange.read_body()
        asked.set()
        released.wait(60)

    with target.scripted(never):
        revoke_a_key(deployment)
        assert asked.wait(WITHIN), "the node is in the middle of it"
        deployment.node.process.kill()
        deployment.node.process.wait(10)
        released.set()
    (left,) = deliveries(deployment, webhook)
    assert (left["state"], left["attempts"]) == ("waiting", 1)
    target.clear()
    # Past the hold: an hour on, by the successor's clock.
    deployment.serve(clock_seconds=3_600)
    wait_until(lambda: target.requests, WITHIN, "the partner is told after all")
    assert target.requests[0].all(b"webhook-id") == [left["id"].encode()]
    wait_until(lambda: deliveries(deployment, webhook)[0]["state"] == "delivered", WITHIN, "it is settled")


def test_a_node_that_may_not_use_plain_http_is_not_talked_into_it(tmp_path: Path) -> None:
    """The rules are those of the configuration, for every command."""
    deployment = Deployment(tmp_path)
    try:
        deployment.init().partner("acme")
        for url in (
            "http://127.0.0.1:1/",
            "https://127.0.0.1:1/",
            "https://10.0.0.1/",
            "https://a:b@h.example/",
        ):
            with pytest.raises(CommandFailed) as refused:
                deployment.command("webhooks", "create", "--partner", "acme", "--url", url)
            assert (refused.value.code, url in refused.value.errors) == (1, False)
    finally:
        deployment.close()
