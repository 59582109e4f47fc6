"""Hazards, "Signatures and replay": what a gateway might forget, and a captured request that waits for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway import Deployment, deployed

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
    lone.node.process.wait(10)
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
