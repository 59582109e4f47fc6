"""Four eyes between two real accounts of one machine, each in processes of its own."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.demo import example
from tests.support import optional

ROOT = Path(__file__).resolve().parents[2]
# The interpreter and its libraries may lie where another account cannot read, so it becomes that account by its real
# number alone, as a program with the set-user-id bit would see its caller.
_AS_ANOTHER = "import os; os.setreuid(65534, 0); from gateway.cli import main; main()"

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    optional.require("root")
    example.render(tmp_path, example.Ports(8080, 1, 2))

    def run(*arguments: str, another: bool = False, code: int = 0) -> subprocess.CompletedProcess[str]:
        program = ["-c", _AS_ANOTHER] if another else ["-m", "gateway"]
        done = subprocess.run(
            [sys.executable, *program, *arguments],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "USER": "mallory", "LOGNAME": "mallory"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


def test_one_account_asks_and_another_agrees(command: Command) -> None:
    """The first cannot agree with itself, the second cannot use what was agreed, and the ledger names both."""
    command("init")
    command("partners", "create", "acme")
    command("partners", "freeze", "acme", "--reason", "odd traffic")
    asked = ("partners", "unfreeze", "acme", "--reason", "explained", "--json")
    told: dict[str, Any] = json.loads(command(*asked, code=1).stderr)
    approval = told["approval"]
    assert "yourself" in command("approvals", "approve", approval, code=1).stderr
    command("approvals", "approve", approval, another=True)
    command("partners", "unfreeze", "acme", "--approval", approval, another=True, code=1)
    thawed = json.loads(command(*shlex.split(told["repeat"])[1:]).stdout)
    assert thawed["status"] == "active"
    events = json.loads(command("audit", "tail", "--limit", "4", "--json").stdout)
    assert [(event["action"], event["actor"]) for event in events] == [
        ("approval.requested", "cli:root"),
        ("approval.approved", "cli:nobody"),
        ("approval.used", "cli:root"),
        ("partner.unfrozen", "cli:root"),
    ]
