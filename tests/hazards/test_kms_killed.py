"""Hazards, "Limits and faults": `kill -9` in the middle of a rewrap and of a reseal.

The process is stopped inside an open transaction, its rows written and not committed, and killed there. What is
found afterwards is one whole state, every secret opens, the ledger's chain holds, and running it again finishes.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage import audit, chain
from storage import engine as storage_engine
from tests.support.gateway import ROOT, Deployment, wait_until

ORDERS = b"/paper/v1/orders"

# The command itself, which stops when its Nth event of one kind has been written and not yet committed.
STOPPING = """
import sys, time
from gateway import cli
from keys import changes
action, number = sys.argv[1], int(sys.argv[2])
del sys.argv[1:3]
record, seen = changes.Change.record, []
async def stopping(self, name, *given, **named):
    await record(self, name, *given, **named)
    seen.append(name)
    if seen.count(action) == number:
        print("stopped", flush=True)
        time.sleep(600)
changes.Change.record = stopping
cli.main()
"""


@pytest.fixture
def deployment(tmp_path: Path, database_url: str) -> Iterator[Deployment]:
    """Prepared, with a key in each environment; no node runs while the command is killed."""
    made = Deployment(tmp_path, storage=database_url)
    try:
        made.init()
        made.key()
        made.key(environment="live")
        yield made
    finally:
        made.close()


def kill_in_the_middle(deployment: Deployment, config: Path, action: str, number: int, *command: str) -> None:
    """The transaction of the Nth such event is open when the process dies."""
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPING, action, str(number), "--config", str(config), *command],
        cwd=ROOT,
        env=deployment._environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "stopped\n"
    process.kill()
    process.wait(30)
    process.stdout.close()


def run(deployment: Deployment, config: Path, *command: str) -> Any:  # noqa: ANN401  whatever it prints
    done = deployment.run(*command, "--json", config=config)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def events(url: str) -> list[str]:
    """Every action of the ledger, whose chain is followed from its beginning."""

    async def read() -> list[str]:
        engine = storage_engine.open_engine(url)
        try:
            async with storage_engine.reading(engine) as conn:
                entries = await audit.read_after(conn, 0, 1_000)
                assert await audit.head(conn) == (entries[-1].seq, entries[-1].hash)
        finally:
            await engine.dispose()
        previous = chain.BEFORE_THE_FIRST
        for number, entry in enumerate(entries, start=1):
            linked = {name: getattr(entry.event, name) for name in entry.event.__struct_fields__}
            assert (entry.seq, entry.previous) == (number, previous)
            assert chain.link(linked | {"seq": number, "previous": previous}) == entry.hash
            previous = entry.hash
        return [entry.event.action for entry in entries]

    return asyncio.run(read())


def trades(deployment: Deployment, config: Path) -> None:
    """A node that starts with this configuration serves the keys that were there before."""
    node = deployment.serve(changes={"kms": KMS_MOVED if config.name == "moved.toml" else {}})
    for environment in (b"paper", b"live"):
        signer = (
            deployment.key(environment=environment.decode()) if environment == b"live" else deployment.key()
        )
        target = ORDERS.replace(b"paper", environment)
        wait_until(lambda s=signer, t=target: node.ask(s.request("GET", t)).status == 200, 5, "it trades")
    node.stop()


KMS_MOVED = {
    "master_key": "file:new.key",
    "previous": [{"backend": "local", "master_key": "file:master.key"}],
}


def test_killed_in_the_middle_of_a_rewrap(deployment: Deployment, database_url: str) -> None:
    """What was committed is wrapped twice, the rest once; the next run does the rest and removes the old."""
    moved = deployment.write("moved.toml", {"kms": KMS_MOVED})
    done = deployment.run("kms", "create", config=moved)
    assert done.returncode == 0, done.stderr
    kill_in_the_middle(deployment, moved, "data_key.rewrapped", 2, "kms", "rewrap")
    found = [len(each["wrapped_by"]) for each in run(deployment, moved, "kms", "status")]
    assert sorted(found, reverse=True) == [2, 1, 1]
    assert events(database_url).count("data_key.rewrapped") == 1
    trades(deployment, deployment.config)
    trades(deployment, moved)
    done = run(deployment, moved, "kms", "rewrap")
    assert done == {"data_keys": 3, "added_wrappings": 2, "removed_wrappings": 0}
    kill_in_the_middle(deployment, moved, "data_key.unwrapped", 2, "kms", "rewrap", "--remove-old")
    trades(deployment, moved)
    done = run(deployment, moved, "kms", "rewrap", "--remove-old")
    assert done == {"data_keys": 3, "added_wrappings": 0, "removed_wrappings": 2}
    (deployment.directory / "master.key").unlink()
    alone = deployment.write("portreeve.toml", {"kms": {"master_key": "file:new.key"}})
    assert [len(each["wrapped_by"]) for each in run(deployment, alone, "kms", "status")] == [1, 1, 1]
    assert events(database_url).count("data_key.unwrapped") == 3


def test_killed_in_the_middle_of_a_reseal(deployment: Deployment, database_url: str) -> None:
    """Each batch is there whole or not at all; the next run does the rest."""
    for environment in ("paper", "live", "service"):
        deployment.command("kms", "rotate", environment)
    config = deployment.config
    kill_in_the_middle(deployment, config, "data_key.resealed", 2, "kms", "reseal")
    sealed = {
        (each["environment"], each["epoch"]): each["secrets"]
        for each in run(deployment, config, "kms", "status")
    }
    assert sum(sealed[environment, 2] for environment in ("paper", "live", "service")) == 1
    assert sum(sealed.values()) == 5
    assert events(database_url).count("data_key.resealed") == 1
    trades(deployment, config)
    assert run(deployment, config, "kms", "reseal")["resealed_secrets"] == 4
    trades(deployment, config)
    assert events(database_url).count("data_key.resealed") == 3
