"""A node tells whether it runs compiled, and serves the same without."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import compiled
from tests.support.compiled import needs_the_room
from tests.support.gateway import Deployment, deployed, wait_until
from tests.support.signing import plain_request


def _told_by(deployment: Deployment) -> tuple[str, str]:
    """The gauge, and what the line of the start says."""
    page = deployment.node.ask(plain_request("GET", b"/metrics")).body.decode()
    (gauge,) = [line for line in page.splitlines() if line.startswith("portreeve_compiled ")]
    wait_until(lambda: _starts(deployment), 30, "the start is told")
    (start,) = _starts(deployment)
    return gauge.split()[1], start


def _starts(deployment: Deployment) -> list[str]:
    return [line["code"] for line in deployment.node.log_lines() if line.get("event") == "started"]


@pytest.fixture
def turned_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    monkeypatch.setenv(compiled.SWITCH, "off")
    with deployed(tmp_path) as deployment:
        yield deployment


@needs_the_room
def test_a_node_tells_that_it_runs_compiled(tmp_path: Path) -> None:
    """In its metrics and in a line of its log."""
    with deployed(tmp_path) as deployment:
        assert _told_by(deployment) == ("1.0", "compiled")


def test_a_node_that_was_told_to_runs_interpreted(turned_off: Deployment) -> None:
    """It says why, and a signed request passes as ever, once."""
    assert _told_by(turned_off) == ("0.0", "interpreted (turned off)")
    signed = turned_off.key().request("GET", b"/paper/v1/orders")
    assert turned_off.node.ask(signed).status == 200
    assert json.loads(turned_off.node.ask(signed).body)["code"] == "replayed_request"
