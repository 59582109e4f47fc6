"""Hazards, "Signatures and replay": what a gateway might forget, and a captured request that waits for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.gateway import Deployment, deployed, wait_until

ORDERS = b"/paper/v1/orders"


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[Deployment]:
    """A gateway on the embedded defaults, to be stopped and started."""
    with deployed(tmp_path) as deployment:
        yield deployment


def test_a_captured_request_is_a_replay_after_an_orderly_restart(lone: Deployment) -> None:
    """A deploy within the window forgets no nonce."""
    captured = lone.key().request("GET", ORDERS)
    assert lone.node.ask(captured).status == 200
    lone.node.stop()
    again = lone.serve()
    assert again.ask(captured).code == "replayed_request"
    assert again.ask(lone.key().request("GET", ORDERS)).status == 200


def test_a_captured_request_is_refused_after_a_crash(lone: Deployment) -> None:
    """What the crash may have forgotten is not taken for new, and new requests pass."""
    captured = lone.key().request("GET", ORDERS)
    assert lone.node.ask(captured).status == 200
    lone.node.process.kill()
    lone.node.process.wait(30)
    again = lone.serve()
    assert again.ask(captured).code == "stale_timestamp"
    assert again.ask(lone.key().request("GET", ORDERS)).status == 200


def test_a_captured_head_cannot_wait_until_its_nonce_is_forgotten(tmp_path: Path) -> None:
    """It is fresh when its head comes; its body may come so late that the nonce would be gone by then."""
    changes = {"signing": {"window_ms": 1_000, "max_window_ms": 1_000}, "server": {"body_timeout_ms": 8_000}}
    with deployed(tmp_path, changes=changes) as deployment:
        captured = deployment.key().request("POST", ORDERS, b'{"qty": 1}')
        with deployment.node.connect() as held:
            held.send(captured[:-1])
            assert deployment.node.ask(captured, method="POST").status == 200
            began = time.monotonic()
            # The wait is the attack: longer than two lifetimes of a nonce that knows of the window alone.
            while time.monotonic() - began < 6.5:
                assert deployment.node.ask(deployment.key().request("GET", ORDERS)).status == 200
                time.sleep(0.25)
            held.send(captured[-1:])
            assert held.read("POST").code == "replayed_request"


def test_a_state_folder_that_lost_its_memory_does_not_pass_for_a_new_one(lone: Deployment) -> None:
    """A container whose disk is gone, over a store that is not."""
    captured = lone.key().request("GET", ORDERS)
    assert lone.node.ask(captured).status == 200
    lone.node.stop()
    for file in lone.directory.glob("replay.*"):
        file.unlink()
    again = lone.serve()
    assert again.ask(captured).code == "stale_timestamp"


def test_a_key_that_expires_while_its_body_is_on_its_way_has_expired(lone: Deployment) -> None:
    """What counts is the moment of deciding, not the moment the head came."""
    # A command may take its time where others work; a body may not.
    expires = datetime.now(UTC) + timedelta(seconds=8)
    key = lone.key(expires=expires.isoformat())
    wait_until(lambda: datetime.now(UTC) > expires - timedelta(seconds=1.5), 20, "it will soon have expired")
    slow = key.request("POST", ORDERS, b"{}")
    with lone.node.connect() as held:
        held.send(slow[:-1])
        wait_until(lambda: datetime.now(UTC) > expires, 10, "the key has expired")
        held.send(slow[-1:])
        assert held.read("POST").code == "key_expired"
