"""Secrets that everything has handled stand nowhere but where they were shown, once: outputs, logs, ledger, store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway import Deployment, deployed, wait_until
from tests.support.signing import Signer, plain_request

ORDERS = b"/paper/v1/orders"


class Watched:
    """Runs commands, and keeps all that any of them but the one that shows a secret has said."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.said: list[str] = []
        self.canaries: dict[str, str] = {}

    def run(self, *arguments: str) -> str:
        done = self._deployment.run(*arguments)
        self.said += [done.stdout, done.stderr]
        return done.stdout

    def show(self, name: str, *arguments: str) -> dict[str, str]:
        """A command that makes a secret and shows it: on stdout, and only there."""
        done = self._deployment.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        self.said.append(done.stderr)
        shown: dict[str, str] = json.loads(done.stdout)
        self.canaries[name] = shown["secret"]
        return shown


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Deployment, Watched]]:
    with deployed(tmp_path_factory.mktemp("canaries"), nodes=1) as deployment:
        deployment.partner("acme")
        yield deployment, Watched(deployment)


def test_no_secret_is_said_again_by_anything(watched: tuple[Deployment, Watched], tmp_path: Path) -> None:
    """Made, used, rotated, leaked, sealed anew, told of: and searched for in all that came of it."""
    deployment, seen = watched
    made = seen.show("first", "keys", "create", "--partner", "acme", "--environment", "paper", "--algorithm",
                     "hmac-sha256", "--role", "trader")  # fmt: skip
    signer = Signer(made["id"], "hmac-sha256", made["secret"])
    node = deployment.node
    wait_until(lambda: node.ask(signer.request("GET", ORDERS)).status == 200, 30, "the key is served")
    node.ask(signer.request("GET", ORDERS + b"?secret=" + made["secret"].encode()))
    node.ask(Signer(made["id"], "hmac-sha256", "wrong").request("GET", ORDERS))
    seen.show("second", "secrets", "rotate", made["id"], "--overlap", "1h")
    client = seen.show("client", "clients", "create", "--partner", "acme", "--environment", "paper", "--name", "a",
                       "--role", "viewer", "--authentication", "client_secret_basic", "--exception",
                       "client-secret")  # fmt: skip
    seen.show("client, rotated", "secrets", "rotate", client["id"], "--overlap", "1h")
    seen.show("webhook", "webhooks", "create", "--partner", "acme", "--url", "https://hooks.example.com/a")
    found = tmp_path / "found.txt"
    found.write_text("\n".join((seen.canaries["second"], seen.canaries["client"], "prs_paper_nothing", "")))
    for command in (
        ("leaks", "report", str(found), "--place", f"https://code.example/{seen.canaries['first']}"),
        ("rings", "announce"),
        ("rings", "activate", "--now"),
        ("kms", "rotate", "paper"),
        ("kms", "rotate", "service"),
        ("kms", "reseal"),
        ("kms", "rewrap"),
        ("kms", "status"),
        ("keys", "show", made["id"]),
        ("clients", "show", client["id"]),
        ("clients", "list", "--json"),
        ("clients", "show", seen.canaries["client"]),
        ("clients", "change", client["id"], "--name", seen.canaries["client"]),
        ("keys", "create", "--partner", seen.canaries["first"], "--environment", "paper"),
        ("secrets", "revoke", seen.canaries["first"]),
        ("secrets", "list", "--json"),
        ("secrets", "plan", "--json"),
        ("webhooks", "list", "--json"),
        ("nodes", "--json"),
        ("config", "check"),
        ("doctor",),
        ("audit", "checkpoint"),
        ("audit", "search", "--json"),
        ("audit", "export"),
        ("keys", "revoke", made["id"]),
    ):
        seen.run(*command)
    seen.said.append(node.ask(plain_request("GET", b"/metrics")).body.decode())
    seen.said.append(str(node.ask(signer.request("GET", ORDERS))))
    seen.said.append(node.log_text())
    everything = "\n".join(seen.said)
    assert made["id"] in everything
    for name, canary in seen.canaries.items():
        assert canary not in everything, f"the {name} secret was said again"
    stored = b"".join(file.read_bytes() for file in deployment.directory.glob("portreeve.db*"))
    assert made["id"].encode() in stored
    for name, canary in seen.canaries.items():
        assert canary.encode() not in stored, f"the {name} secret stands in the store"
        assert canary.removeprefix("whsec_").encode() not in stored, f"the {name} secret stands in the store"
