"""`portreeve secrets plan` and `run` over every kind of secret, run as a shell would."""

from typing import Any

import pytest

from gateway import clocks
from tests.support.commands import HMAC, Run, read

DAY_MS = 86_400_000


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The clock of every command from here on, set by the test."""
    moment = {"ms": clocks.wall_ms()}
    monkeypatch.setattr(clocks, "wall_ms", lambda: moment["ms"])
    return moment


def planned(store: Run, until: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read(store("secrets", "plan", "--until", until, "--json"))
    return found


def test_a_plan_tells_of_every_kind_and_whom_it_concerns(store: Run) -> None:
    """Our own ring and data keys go by themselves, a partner's key and webhook are warned of."""
    key = read(store("keys", "create", *HMAC, "--json"))["id"]
    hook = ("webhooks", "create", "--partner", "acme", "--url", "https://hooks.acme.example/x")
    webhook = read(store(*hook, "--event", "key.revoked", "--json"))["id"]
    steps = {(one["step"], one["id"], one["partner"]) for one in planned(store, "185d")}
    assert {
        ("announce", "ring_identity", None),
        ("activate", "ring_identity", None),
        ("rotate", "dk_paper", None),
        ("rotate", "dk_service", None),
        ("warn", key, "acme"),
        ("warn", webhook, "acme"),
    } <= steps
    assert not [one for one in steps if one[1] == "ring_ledger"]


def test_a_run_does_what_was_planned(store: Run, now: dict[str, int]) -> None:
    """The ring's next key is announced and signs, an epoch begins; the ledger names who did it."""
    now["ms"] += 90 * DAY_MS
    done = read(store("secrets", "run", "--json"))
    assert {("announce", "ring_identity", "done"), ("rotate", "dk_service", "done")} <= {
        (one["step"], one["id"], one["outcome"]) for one in done
    }
    assert read(store("secrets", "run", "--json")) == []
    now["ms"] += DAY_MS
    assert {(one["step"], one["id"]) for one in read(store("secrets", "run", "--json"))} == {
        ("activate", "ring_access"),
        ("activate", "ring_identity"),
    }
    (kids,) = [
        [one["state"] for one in ring["versions"]]
        for ring in read(store("secrets", "list", "--kind", "ring", "--json"))
        if ring["id"] == "ring_identity"
    ]
    assert kids == ["retiring", "active"]
    (event,) = read(store("audit", "tail", "--limit", "1", "--json"))
    assert event["action"] == "ring_key.activated"
    assert event["actor"].startswith("cli:")


def test_a_webhooks_new_secret_is_printed_once(store: Run) -> None:
    """By the rotation; the version before goes on signing for the overlap."""
    hook = ("webhooks", "create", "--partner", "acme", "--url", "https://hooks.acme.example/x")
    webhook = read(store(*hook, "--event", "key.revoked", "--json"))
    rotated = read(store("secrets", "rotate", webhook["id"], "--overlap", "2d", "--json"))
    assert rotated["secret"].startswith("whsec_")
    assert rotated["secret"] != webhook["secret"]
    assert [one["state"] for one in rotated["versions"]] == ["retiring", "active"]
    assert rotated["secret"] not in store("secrets", "list", "--json").output
    assert "remove the webhook" in store("secrets", "revoke", webhook["id"], code=1).stderr
