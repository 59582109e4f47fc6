"""docs/runbooks/kms-key-lost.md, walked through: the commands and the configuration are read from the page."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway import Deployment, wait_until
from tests.support.signing import plain_request

PAGE = Path(__file__).parents[2] / "docs" / "runbooks" / "kms-key-lost.md"
TWO_KEYS = {"second": {"backend": "local", "master_key": "file:second.key"}, "soft_lifetime_ms": 200}
ORDERS = b"/paper/v1/orders"


def step(number: int) -> str:
    return re.split(r"^## \d\. ", PAGE.read_text(), flags=re.MULTILINE)[number]


def commands(text: str) -> list[list[str]]:
    return [shlex.split(line)[1:] for line in re.findall(r"^\$ (portreeve .*)$", text, re.MULTILINE)]


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    made = Deployment(tmp_path, changes={"kms": TWO_KEYS})
    try:
        made.init()
        made.key()
        made.serve()
        yield made
    finally:
        made.close()


def test_the_primary_is_lost_and_replaced(deployment: Deployment) -> None:
    """Every command of the page does what it says, the running node serves throughout, a new one starts."""
    running, signer = deployment.node, deployment.key()
    (deployment.directory / "master.key").unlink()
    [table] = re.findall(r"```toml\n(.*?)```", step(2), re.DOTALL)
    deployment.document["kms"] = tomllib.loads(table)["kms"]
    deployment.config = deployment.write("portreeve.toml", {})
    told = [deployment.run(*command, config=deployment.config) for command in commands(step(2))]
    assert [done.returncode for done in told[:3]] == [0, 0, 0], [done.stderr for done in told]
    assert "third.key (made)" in told[0].stdout
    status, doctor = [deployment.run(*command, config=deployment.config) for command in commands(step(1))]
    assert status.stdout.count("local key ") == 6
    assert "local and local each open every data key (3)" in doctor.stdout
    assert running.ask(signer.request("GET", ORDERS)).status == 200
    node = deployment.serve()
    wait_until(lambda: node.ask(signer.request("GET", ORDERS)).status == 200, 5, "the new node trades")
    assert json.loads(node.ask(plain_request("GET", b"/health/ready")).body)["kms"] == "ready"
    for command in commands_in_line(step(2)):
        deployment.command(*command)
    assert running.ask(signer.request("GET", ORDERS)).status == 200
    assert "primary lost" in deployment.command("audit", "tail", "--limit", "50", "--json")


def commands_in_line(text: str) -> list[list[str]]:
    """`rotate` names its environments in the sentence."""
    assert "`portreeve kms rotate` for `paper`, `live` and `service`, then `portreeve kms reseal`" in text
    return [["kms", "rotate", name] for name in ("paper", "live", "service")] + [["kms", "reseal"]]


def test_the_second_is_lost_and_replaced(deployment: Deployment) -> None:
    """The primary opens everything; the same commands make and fill a new second."""
    (deployment.directory / "second.key").unlink()
    deployment.document["kms"] |= {"second": {"backend": "local", "master_key": "file:third.key"}}
    deployment.config = deployment.write("portreeve.toml", {})
    for command in commands(step(2))[:3]:
        done = deployment.run(*command, config=deployment.config)
        assert done.returncode == 0, done.stderr
    assert deployment.command("kms", "status").count("local key ") == 6
    node = deployment.serve()
    assert json.loads(node.ask(plain_request("GET", b"/health/ready")).body)["kms"] == "ready"
