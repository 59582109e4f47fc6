"""`portreeve upstreams`: a credential is entered, shown without what it is, and followed through its life."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click.testing
import pytest

from gateway import cli
from tests.support.commands import Run

CANARY = "canary-9c1d"
SET = ("upstreams", "credential", "set", "paper-trading")


def piped(*arguments: str, secret: str, code: int = 0) -> click.testing.Result:
    result = click.testing.CliRunner().invoke(cli.cli, arguments, prog_name="portreeve", input=secret)
    assert result.exit_code == code, result.output
    return result


def listed(run: Run) -> dict[str, Any]:
    return {each["upstream"]: each for each in json.loads(run("upstreams", "list", "--json").stdout)}


def test_the_life_of_a_credential(store: Run, tmp_path: Path) -> None:
    """Set from stdin, announced from a file, activated, rotated, revoked and removed; never shown."""
    shown = piped(*SET, "--form", "header", "--header", "x-api-key", secret=f"{CANARY}\n").stdout
    assert listed(store)["paper-trading"]["active"] == 1
    file = tmp_path / "next"
    file.write_text(json.dumps({"value": f"{CANARY}-2"}))
    credential = ("upstreams", "credential")
    shown += store(*credential, "announce", "paper-trading", "--secret-file", str(file)).stdout
    assert listed(store)["paper-trading"]["pending"] == 2
    shown += store(*credential, "activate", "paper-trading", "--reason", "tried").stdout
    shown += piped(*credential, "rotate", "paper-trading", "--json", secret=f"{CANARY}-3").stdout
    assert listed(store)["paper-trading"]["active"] == 3
    shown += store(*credential, "revoke", "paper-trading", "--version", "2").stdout
    shown += store(*credential, "show", "paper-trading").stdout
    shown += store(*credential, "revoke", "paper-trading").stdout
    assert listed(store)["paper-trading"]["active"] is None
    store(*credential, "remove", "paper-trading")
    assert listed(store)["paper-trading"]["form"] is None
    shown += store("upstreams", "list").stdout + store("audit", "tail", "--json", "--limit", "50").stdout
    assert CANARY not in shown
    assert "upstream_credential.removed" in shown


def test_a_credential_can_be_announced_for_a_moment(store: Run) -> None:
    """The scheduler sends it from then on; a moment that has passed is refused, and nothing is stored."""
    piped(*SET, "--form", "header", "--header", "x-api-key", secret=CANARY)
    announce = ("upstreams", "credential", "announce", "paper-trading")
    late = piped(*announce, "--at", "2026-01-01T00:00:00Z", secret=f"{CANARY}-2", code=1)
    assert "passed" in late.stderr
    assert listed(store)["paper-trading"]["pending"] is None
    piped(*announce, "--at", "7d", secret=f"{CANARY}-2")
    planned = json.loads(store("secrets", "plan", "--until", "8d", "--json").stdout)
    assert next((one["step"], one["version"]) for one in planned if one["kind"] == "upstream") == (
        "activate",
        2,
    )


@pytest.mark.parametrize(
    ("options", "secret"),
    [
        (("--form", "basic", "--username", "us"), CANARY),
        (("--form", "basic"), json.dumps({"username": "us", "password": CANARY})),
        (("--form", "hmac", "--key-id", "us", "--layout", "joined", "--encoding", "base64"), CANARY),
        (("--form", "oauth-client", "--client-id", "us", "--token-endpoint", "https://a.example/t"), CANARY),
    ],
)
def test_every_form_can_be_entered(store: Run, options: tuple[str, ...], secret: str) -> None:
    """With its public member beside the secret, or as one object."""
    made = json.loads(piped(*SET, *options, "--json", secret=secret).stdout)
    assert made["form"] == options[1]
    assert CANARY not in json.dumps(made)


def test_one_that_lies_elsewhere_asks_for_no_secret(store: Run) -> None:
    """Only where it lies is entered."""
    options = ("--form", "header", "--header", "x-api-key", "--source", "aws-secrets-manager")
    made = store(*SET, *options, "--secret-id", "prod/broker", "--json")
    assert json.loads(made.stdout)["secret_id"] == "prod/broker"
    store("upstreams", "credential", "rotate", "paper-trading", code=1)


@pytest.mark.parametrize(
    ("options", "secret", "said"),
    [
        (("--form", "header", "--header", "host"), CANARY, "no header for a credential"),
        (("--form", "header"), CANARY, "header"),
        (("--form", "basic"), CANARY, "JSON object"),
        (("--form", "basic", "--username", "a:b"), CANARY, "colon"),
        (("--form", "header", "--header", "x-api-key"), f"{CANARY}\nx: y", "visible characters"),
        (
            ("--form", "header", "--header", "x-api-key", "--environment", "live"),
            CANARY,
            "paper one, not live",
        ),
        (("--form", "header", "--header", "x-api-key", "--source", "aws-secrets-manager"), "", "secret_id"),
        (("--form", "header", "--header", "x-api-key", "--secret-id", "x"), CANARY, "secret_id"),
    ],
)
def test_what_cannot_be_one_is_refused(store: Run, options: tuple[str, ...], secret: str, said: str) -> None:
    """With a line that says why, and without a word of the secret."""
    refused = piped(*SET, *options, secret=secret, code=1)
    assert said in refused.stderr
    assert CANARY not in refused.output
    assert listed(store)["paper-trading"]["form"] is None


def test_what_is_not_there_is_told(store: Run) -> None:
    """An upstream that is not configured, one without a credential, and a member of another form."""
    options = ("--form", "header", "--header", "x-api-key")
    refused = piped("upstreams", "credential", "set", "other", *options, secret="x", code=1)
    assert "no upstream 'other'" in refused.stderr
    assert "no credential" in store("upstreams", "credential", "show", "paper-trading", code=1).stderr
    piped(*SET, *options, "--username", "us", secret="x", code=2)


def test_a_secret_that_is_no_text_is_refused(store: Run, tmp_path: Path) -> None:
    """And what it holds is not shown."""
    file = tmp_path / "secret"
    file.write_bytes(b"\xff" + CANARY.encode())
    refused = store(*SET, "--form", "header", "--header", "x-api-key", "--secret-file", str(file), code=1)
    assert "not UTF-8" in refused.stderr
    assert CANARY not in refused.output
