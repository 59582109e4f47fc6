"""Hazards, "Limits and faults": PostgreSQL stopped or frozen.

The data plane serves from memory up to the staleness bound; beyond it trading is refused and reading goes on;
the command line answers an error and leaves nothing half-written; recovery needs no restart.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.support import problems, rawhttp
from tests.support.gateway import CommandFailed, Deployment, wait_until
from tests.support.servers import PostgresServer

BOUND_MS = 2_500
ORDERS = b"/paper/v1/orders"


@pytest.fixture(autouse=True)
def healthy_before_and_after(bounded: Deployment, own_postgres: PostgresServer) -> Iterator[None]:
    """Every fault starts from a gateway that trades, and ends with one that does so again, not restarted."""
    assert trade(bounded).status == 200
    yield
    wait_until(lambda: trade(bounded).status == 200, 15, "recovery without restart")


def trade(deployment: Deployment) -> rawhttp.Answer:
    return deployment.node.ask(deployment.key().request("POST", ORDERS, b'{"qty":1}'))


def read(deployment: Deployment) -> rawhttp.Answer:
    return deployment.node.ask(deployment.key().request("GET", ORDERS))


def grows_stale(deployment: Deployment) -> None:
    """From memory at first; then reads only."""
    assert (trade(deployment).status, read(deployment).status) == (200, 200)
    wait_until(lambda: trade(deployment).status != 200, BOUND_MS / 1000 + 5, "trading is refused")
    deployment.paper.clear()
    problems.check(trade(deployment), "key_store_stale")
    assert not deployment.paper.requests
    assert read(deployment).status == 200
    for _ in range(10):
        began = time.monotonic()
        assert read(deployment).status == 200
        assert time.monotonic() - began < 5, "a read waited for the database"


def test_postgresql_stopped(bounded: Deployment, own_postgres: PostgresServer) -> None:
    """Reads go on from memory, trading stops at the bound."""
    own_postgres.stop()
    try:
        grows_stale(bounded)
    finally:
        own_postgres.start()


def test_postgresql_frozen(bounded: Deployment, own_postgres: PostgresServer) -> None:
    """A database that no longer answers is as good as stopped, and nothing waits for it."""
    own_postgres.pause()
    try:
        grows_stale(bounded)
    finally:
        own_postgres.resume()


def test_commands_fail_clearly_and_write_nothing_by_half(
    bounded: Deployment, own_postgres: PostgresServer
) -> None:
    """While the database is away a command is an error of one line; afterwards it can be given again."""
    signer = bounded.key()
    commands = [
        ("partners", "create", "halfway", "--name", "Halfway", "--tier", "standard"),
        (
            "keys",
            "create",
            "--partner",
            "acme",
            "--environment",
            "paper",
            "--algorithm",
            "hmac-sha256",
            "--role",
            "trader",
        ),
        ("keys", "revoke", signer.key_id, "--reason", "a test of faults"),
    ]
    before = keys_of(bounded)
    own_postgres.stop()
    try:
        for command in commands:
            with pytest.raises(CommandFailed) as failed:
                bounded.command(*command)
            assert failed.value.code == 1
            assert "Traceback" not in failed.value.errors
            assert failed.value.errors.strip()
            assert "prs_" not in failed.value.output
    finally:
        own_postgres.start()
    wait_until(lambda: trade(bounded).status == 200, 15, "recovery without restart")
    assert keys_of(bounded) == before
    bounded.command(*commands[0])


def keys_of(deployment: Deployment) -> list[str]:
    listed = json.loads(deployment.command("keys", "list", "--json"))
    rows = listed["items"] if isinstance(listed, dict) else listed
    return sorted(row["id"] for row in rows)


def test_a_key_made_after_recovery_is_served(bounded: Deployment, own_postgres: PostgresServer) -> None:
    """What changes after an outage is noticed again, without a restart."""
    own_postgres.stop()
    own_postgres.start()
    wait_until(lambda: read(bounded).status == 200, 10, "reads")
    signer = bounded.new_key(partner="acme")
    assert bounded.node.ask(signer.request("GET", ORDERS)).status == 200
