"""The kill switch and the nodes, by command."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gateway import clocks, composition, settings
from gateway.cli import spreading
from storage import nodes
from storage.engine import transaction
from tests.support.commands import HMAC, Run

pytestmark = pytest.mark.usefixtures("alone")


def made(run: Run, *arguments: str) -> Any:  # noqa: ANN401  what the command printed
    return json.loads(run(*arguments, "--json").stdout)


def report(place: Path, **changed: Any) -> None:  # noqa: ANN401  fields of a receipt
    """As a node would."""
    fields: dict[str, Any] = {
        "id": "gate:1:aa",
        "host": "gate",
        "version": "0.1.0",
        "surfaces": ("edge", "control"),
        "started_ago_ms": 0,
        "revision": 1_000,
        "applied_ago_ms": 0,
        "committed_at": None,
        "incomplete": 0,
    }

    async def write() -> None:
        configured = settings.load(place / ".portreeve" / "portreeve.toml")
        async with (
            composition.opened_store(configured, clocks.wall_ms) as store,
            transaction(store.engine) as conn,
        ):
            await nodes.report(conn, nodes.Receipt(**fields | changed))

    asyncio.run(write())


def test_a_route_is_frozen_and_thawed(store: Run) -> None:
    """By the name it has in the configuration; the list says who did it and why."""
    frozen = made(store, "freeze", "route", "paper-orders-create", "--reason", "odd orders")
    assert (frozen["kind"], frozen["name"], frozen["status"]) == ("route", "paper-orders-create", "frozen")
    (listed,) = made(store, "freezes")
    assert listed["reason"] == "odd orders"
    assert listed["frozen_by"].startswith("cli:")
    assert "paper-orders-create" in store("freezes").stdout
    thawed = made(store, "unfreeze", "route", "paper-orders-create")
    assert thawed["status"] == "active"
    assert thawed["spread"]["revision"] == frozen["spread"]["revision"] + 1
    assert made(store, "freezes") == []


def test_an_environment_is_frozen_and_thawed(store: Run) -> None:
    """In the words of the table and of the ledger."""
    shown = store("freeze", "environment", "live", "--reason", "a drill")
    assert "frozen" in shown.stdout
    assert "no node is running" in shown.stderr
    assert "no node is running" in store("unfreeze", "environment", "live").stderr
    told = [(event["action"], event["subject"]) for event in made(store, "audit", "tail")]
    assert told[-2:] == [("environment.frozen", "live"), ("environment.unfrozen", "live")]


def test_what_would_stop_nothing_is_refused(store: Run) -> None:
    """A route that is not configured, an environment that is none, and what is frozen already."""
    assert "no route 'orders'" in store("freeze", "route", "orders", code=1).stderr
    store("freeze", "environment", "prod", code=2)
    store("freeze", "environment", "live")
    assert "is frozen" in store("freeze", "environment", "live", code=1).stderr
    assert "is not frozen" in store("unfreeze", "environment", "paper", code=1).stderr


def test_a_route_that_has_left_the_configuration_can_be_thawed(store: Run, place: Path) -> None:
    """Nobody has to put it back first."""
    store("freeze", "route", "paper-orders-create")
    config = place / ".portreeve" / "portreeve.toml"
    config.write_text(config.read_text().replace('"paper-orders-create"', '"paper-orders-new"'))
    store("unfreeze", "route", "paper-orders-create")
    assert made(store, "freezes") == []


def test_keys_and_partners_are_on_the_same_list(store: Run) -> None:
    """Everything that is stopped, in one place."""
    store("partners", "freeze", "acme", "--reason", "credit check")
    assert [(one["kind"], one["name"]) for one in made(store, "freezes")] == [("partner", "acme")]


def test_a_change_says_how_far_it_has_come(store: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that serves it, and at the end of the patience one that does not."""
    monkeypatch.setattr(spreading, "PATIENCE_MS", 50)
    report(place)
    shown = store("freeze", "environment", "live").stderr
    assert "on 1/1 nodes" in shown
    report(place, id="gate:2:bb", revision=1)
    told = store("unfreeze", "environment", "live").stderr
    assert "on 1/2 nodes, 1 behind" in told
    assert "behind: gate:2:bb, at revision 1, last seen" in told


def test_the_nodes_are_listed_by_what_they_say(store: Run, place: Path) -> None:
    """Each with what it serves, and all of them in a line."""
    assert made(store, "nodes") == []
    assert "no node is running" in store("nodes", "status").stdout
    report(place)
    report(place, id="gate:2:bb", revision=1)
    listed = made(store, "nodes")
    assert [(one["id"], one["state"]) for one in listed] == [
        ("gate:1:aa", "serving"),
        ("gate:2:bb", "behind"),
    ]
    assert listed[0]["surfaces"] == ["edge", "control"]
    assert "gate:2:bb" in store("nodes").stdout
    assert "1/2 nodes, 1 behind" in store("nodes", "status").stdout
    status = made(store, "nodes", "status")
    assert (status["serving"], status["live"], status["everywhere"]) == (1, 2, False)
    assert status["behind"] == ["gate:2:bb"]


def test_what_stops_a_key_or_a_partner_tells_how_far_it_has_come(store: Run, place: Path) -> None:
    """As for a route: whoever stops something learns where it is stopped, and what undoes it tells so, too."""
    report(place)
    key = made(store, "keys", "create", *HMAC)["id"]
    for command in (
        ("keys", "freeze", key),
        ("keys", "unfreeze", key),
        ("partners", "freeze", "acme"),
        ("partners", "unfreeze", "acme"),
    ):
        assert "on 1/1 nodes" in store(*command).stderr
    revoked = made(store, "secrets", "revoke", key)
    assert (revoked["spread"]["live"], revoked["spread"]["everywhere"]) == (1, True)
    other = made(store, "keys", "create", *HMAC)["id"]
    assert made(store, "keys", "revoke", other)["spread"]["revision"] > revoked["spread"]["revision"]
    assert "spread" not in made(store, "keys", "show", other)
    assert "nodes" not in store("keys", "show", other).stderr
