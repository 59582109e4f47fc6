"""docs/runbooks/restore-from-backup.md, walked through: the shell runs the page's own lines, on either store."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import databases
from tests.support.gateway import PASSWORD_VARIABLE, ROOT, Deployment, wait_until
from tests.support.optional import require
from tests.support.servers import PostgresServer
from tests.support.signing import Signer

PAGE = ROOT / "docs" / "runbooks" / "restore-from-backup.md"
ORDERS = b"/paper/v1/orders"
# The store's tools, by the words that begin the lines of the page that are only for it.
OTHER = {"sqlite": ("pg_",), "postgresql": ("sqlite3", "cp portreeve.backup", "chmod")}


class Machine:
    """A place with a configuration and a shell, whose `portreeve` is this program."""

    def __init__(self, deployment: Deployment, kind: str, database: str, tools: list[Path]) -> None:
        self.deployment = deployment
        self.place = deployment.directory
        self._kind = kind
        program = self.place / "bin" / "portreeve"
        program.parent.mkdir()
        program.write_text(
            f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(sys.executable)} -m gateway "$@"\n'
        )
        program.chmod(0o700)
        self._environment = os.environ | {
            "PATH": ":".join([str(program.parent), *map(str, tools), os.environ["PATH"]]),
            "PORTREEVE_CONFIG": str(deployment.config),
            "DATABASE": database,
            "PGPASSWORD": os.environ.get(PASSWORD_VARIABLE, ""),
        }

    def walk(self, section: str, **named: str) -> subprocess.CompletedProcess[str]:
        """The lines of one section that are for this store, one after another in one shell."""
        lines = [line for line in commands(section) if not line.startswith(OTHER[self._kind])]
        script = "\n".join(["set -eu", *lines])
        for name, value in named.items():
            script = script.replace(name, value)
        return subprocess.run(
            ["/bin/sh", "-c", script],
            cwd=self.place,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def commands(section: str) -> list[str]:
    [text] = re.findall(
        rf"^## {re.escape(section)}$(.*?)(?=^## |\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
    return re.findall(r"^\$ (.*)$", text, re.MULTILINE)


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    for tool in {"sqlite": ["jq", "sqlite3"], "postgresql": ["jq"]}[request.param]:
        require(tool)
    return str(request.param)


@pytest.fixture
def machines(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[Machine]]:
    """The one that breaks, initialised; and a new one with an empty store and none of the files."""
    made, lent = [], []
    try:
        for name in ("old", "new"):
            (place := tmp_path / name).mkdir()
            url, tools = "sqlite:portreeve.db", []
            if kind == "postgresql":
                server: PostgresServer = request.getfixturevalue("postgres_server")
                monkeypatch.setenv(PASSWORD_VARIABLE, server.password)
                databases.run_sql(server.url(), f"CREATE DATABASE restoring_{name} TEMPLATE template0")
                lent.append((server, f"restoring_{name}"))
                url, tools = server.url(f"restoring_{name}"), [server.programs]
            bare = url.replace(f":{os.environ.get(PASSWORD_VARIABLE, '')}@", "@", 1)
            made.append(Machine(Deployment(place, storage=url), kind, bare, tools))
        made[0].deployment.init()
        yield made
    finally:
        for machine in made:
            machine.deployment.close()
        for server, name in lent:
            databases.run_sql(server.url(), f"DROP DATABASE {name} WITH (FORCE)")


def answered(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def export(machine: Machine) -> str:
    return answered(machine.walk("What to back up"))


def test_a_store_is_restored_and_what_it_forgot_is_done_again(machines: list[Machine]) -> None:
    """The export tells what came after the backup: the revoked key is good again until that is made up for."""
    old, new = machines
    leaked, kept = old.deployment.key(), old.deployment.key(algorithm="ed25519")
    export(old)
    for file in ("portreeve.dump", "portreeve.backup"):
        if (old.place / file).exists():
            shutil.copy(old.place / file, new.place)
    old.deployment.command("keys", "revoke", leaked.key_id, "--reason", "leaked")
    old.deployment.command("freeze", "route", "orders-read")
    for file in ("ledger.jsonl", "ledger-keys.json"):
        (old.place / file).unlink()
    export(old)
    # The state directory was kept, too: it remembers what the backup has not.
    (remembered,) = old.place.rglob("ledger.remembered")
    for file in ("master.key", "ledger.jsonl", "ledger-keys.json"):
        shutil.copy(old.place / file, new.place)
    (state := new.place / remembered.parent.relative_to(old.place)).mkdir(exist_ok=True)
    shutil.copy(remembered, state)

    assert "opens every data key" in answered(new.walk("2. Restore"))
    told = answered(new.walk("3. See what was lost"))
    assert told.count("The ledger holds.") == 1
    lost = [line for line in told.splitlines() if line.startswith("[")]
    assert [line.split(",")[1] for line in lost] == ['"api_key.revoked"', '"route.frozen"'], told
    assert leaked.key_id in lost[0]

    assert "audit acknowledge" in new.walk("5. Serve again").stderr
    answered(new.walk("Where this host remembers more"))

    new.deployment.serve()
    assert passes(new, leaked), "a restored store forgets a revocation: the page has to say so"
    new.deployment.command("keys", "revoke", leaked.key_id, "--reason", "restored")
    assert passes(new, kept)
    answered(new.walk("4. Do it again, before anything is served"))
    wait_until(lambda: not passes(new, leaked), 5, "what was revoked again is refused")
    assert "1/1 nodes" in answered(new.walk("5. Serve again"))


def passes(machine: Machine, signer: Signer) -> bool:
    return machine.deployment.node.ask(signer.request("GET", ORDERS)).status == 200
