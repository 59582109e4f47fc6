"""`portreeve webhooks`, run as a shell would."""

import json
from typing import Any

import pytest

from keys.webhook_records import EVENTS
from tests.support.commands import Run, read

URL = "https://hooks.acme.example/portreeve"


@pytest.fixture
def made(store: Run) -> dict[str, Any]:
    created: dict[str, Any] = read(
        store("webhooks", "create", "--partner", "acme", "--url", URL, "--event", "key.revoked", "--json")
    )
    return created


def test_a_secret_is_printed_once(store: Run, made: dict[str, Any]) -> None:
    """By the command that made it, and by no other."""
    assert made["secret"].startswith("whsec_")
    shown = store("webhooks", "create", "--partner", "acme", "--url", URL)
    assert "this once" in shown.stderr
    for command in (("list", "--json"), ("show", made["id"]), ("deliveries", made["id"])):
        assert "whsec_" not in store("webhooks", *command).stdout


def test_without_events_a_webhook_is_told_everything(store: Run, made: dict[str, Any]) -> None:
    """Those that are named stand for themselves."""
    everything = read(store("webhooks", "create", "--partner", "acme", "--url", URL, "--json"))
    assert (everything["events"], made["events"]) == (list(EVENTS), ["key.revoked"])
    listed = read(store("webhooks", "list", "--partner", "acme", "--json"))
    assert {one["id"] for one in listed} == {everything["id"], made["id"]}


def test_a_webhook_is_changed_disabled_enabled_tested_and_removed(store: Run, made: dict[str, Any]) -> None:
    """Each prints what it is now; what is gone is unknown."""
    webhook = made["id"]
    changed = read(store("webhooks", "change", webhook, "--event", "leak.found", "--json"))
    assert (changed["url"], changed["events"]) == (URL, ["leak.found"])
    disabled = read(store("webhooks", "disable", webhook, "--reason", "too loud", "--json"))
    assert (disabled["status"], disabled["disabled_reason"]) == ("disabled", "too loud")
    assert read(store("webhooks", "enable", webhook, "--json"))["status"] == "active"
    assert webhook in store("webhooks", "test", webhook).stdout
    store("webhooks", "remove", webhook)
    assert "there is no webhook" in store("webhooks", "show", webhook, code=1).stderr
    assert "there is no delivery" in store("webhooks", "redeliver", "msg_none", code=1).stderr


def test_what_is_refused_is_explained_without_the_url(store: Run, made: dict[str, Any]) -> None:
    """It may hold a partner's secret."""
    bad = store("webhooks", "change", made["id"], "--url", "http://hooks.acme.example/sesame", code=1)
    assert "https://" in bad.stderr
    assert "sesame" not in bad.stderr
    assert "neither another URL" in store("webhooks", "change", made["id"], code=1).stderr
    store("webhooks", "create", "--partner", "acme", "--url", URL, "--event", "key.stolen", code=2)


def test_every_change_stands_in_the_ledger(store: Run, made: dict[str, Any]) -> None:
    """With the account that made it, and the origin alone."""
    store("webhooks", "disable", made["id"])
    events = [one for one in read(store("audit", "tail", "--json")) if one["subject"] == made["id"]]
    assert [one["action"] for one in events] == ["webhook.created", "webhook.disabled"]
    assert events[0]["details"]["origin"] == "https://hooks.acme.example"
    assert made["secret"] not in json.dumps(events)
