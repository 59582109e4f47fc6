"""`portreeve rings`, and the runbook that tells when to use it, walked through as it stands."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from gateway import clocks
from keys.ring_rotation import RingTimes
from tests.support.commands import Run
from tests.support.custody import FakeClock

RUNBOOK = Path(__file__).parents[3] / "docs" / "runbooks" / "rotate-all-signing-keys.md"
TIMES = RingTimes(lifetime_ms=30_000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    made = FakeClock()
    monkeypatch.setattr(clocks, "wall_ms", made)
    return made


def listed(run: Run, ring: str = "identity") -> list[dict[str, Any]]:
    return [key for key in json.loads(run("rings", "list", "--json").stdout) if key["ring"] == ring]


def states(run: Run, ring: str = "identity") -> list[str]:
    return [key["state"] for key in listed(run, ring)]


def commands() -> list[list[str]]:
    """Every command of the runbook, in its order."""
    return [
        shlex.split(line) for line in re.findall(r"^\$ portreeve (.+)$", RUNBOOK.read_text(), re.MULTILINE)
    ]


def test_the_runbook_holds_as_it_stands(clock: FakeClock, run: Run) -> None:
    """Each command in its place does what the page says, and the ledger has the reasons."""
    run("init")
    seen: list[list[str]] = []
    for command in commands():
        words = command
        if "KID" in words:
            (kid, *_) = [key["kid"] for key in listed(run) if key["state"] == "retiring"]
            words = [kid if word == "KID" else word for word in words]
        if words[:2] == ["rings", "activate"]:
            run(*words, code=1)
            clock.now_ms += TIMES.lead_ms
        run(*words)
        seen.append(states(run))
        assert states(run, "ledger")[-1] == seen[-1][-1]
    assert ["active", "pending"] in seen
    assert ["retiring", "active"] in seen
    assert seen[-1] == ["revoked", "revoked", "active"]
    told = json.loads(run("audit", "tail", "--limit", "100", "--json").stdout)
    reasons = {event["reason"] for event in told if event["action"].startswith("ring_key.")}
    assert reasons == {None, "yearly rotation", "the master key was copied", "copied from a backup"}


def test_what_one_ring_refuses_keeps_no_other_back(clock: FakeClock, run: Run) -> None:
    """The others take their step, and the command says that not all did."""
    run("init")
    run("rings", "announce", "--ring", "ledger")
    refused = run("rings", "announce", code=1)
    assert "pending already" in refused.stderr
    assert (states(run), states(run, "ledger")) == (["active", "pending"], ["active", "pending"])


def test_what_is_not_there_is_told(run: Run) -> None:
    """An unknown ring, an unknown key, and the active one that nothing follows."""
    run("init")
    assert "identity, ledger" in run("rings", "rotate", "--ring", "other", code=1).stderr
    assert "nobody" in run("rings", "revoke", "nobody", code=1).stderr
    assert "rotate now" in run("rings", "revoke", listed(run)[0]["kid"], code=1).stderr
    assert "no key" in run("rings", "activate", code=1).stderr


def test_a_table_shows_every_ring(run: Run) -> None:
    """For people."""
    run("init")
    shown = run("rings", "list").stdout
    assert "identity" in shown
    assert "ledger" in shown
