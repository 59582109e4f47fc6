"""`portreeve people`: accounts from a shell, with their mails in the outbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Run

INVITE = ("people", "invite", "ada@acme.example", "--name", "Ada", "--partner", "acme", "--role", "viewer")


def outbox() -> list[Path]:
    return sorted(Path(".portreeve/outbox").glob("*.eml"))


@pytest.mark.usefixtures("alone")
def test_an_account_from_its_beginning_to_its_end(store: Run) -> None:
    """Each command says how the account stands after it; what leaves by mail is said nowhere."""
    said: list[str] = []

    def tell(*arguments: str) -> Any:  # noqa: ANN401  JSON
        result = store("people", *arguments, "--json")
        said.append(result.output)
        return json.loads(result.stdout)

    made = tell(*INVITE[1:])
    assert (made["email"], made["partner"], made["roles"]) == ("ada@acme.example", "acme", ["viewer"])
    assert tell("show", "Ada@Acme.example") == tell("show", made["id"]) == made
    assert tell("roles", made["id"], "--role", "trader")["roles"] == ["trader"]
    assert tell("roles", made["id"])["roles"] == []
    assert tell("sign-out", made["id"])["signed_out_at"] is not None
    assert tell("disable", made["id"], "--reason", "gone")["disabled_reason"] == "gone"
    assert tell("enable", made["id"])["state"] == "invited"
    assert tell("remove-factors", made["id"])["second_factor"] == []
    tell("reset", made["id"])
    assert tell("list", "--partner", "acme") == tell("list")
    mails = [file.read_text() for file in outbox()]
    assert len(mails) == 2
    tickets = [mail.partition("ticket=")[2][:43] for mail in mails]
    assert all(len(ticket) == 43 and ticket not in "".join(said) for ticket in tickets)
    events = json.loads(store("audit", "tail", "--json").stdout)
    assert not any(ticket in json.dumps(events) for ticket in tickets)


def test_the_table_is_for_people(store: Run) -> None:
    """One line an account, with what tells them apart."""
    store(*INVITE)
    assert "ada@acme.example" in store("people", "list").stdout
    assert "viewer" in store("people", "show", "ada@acme.example").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "nobody@acme.example"),
        ("invite", "no address", "--name", "x"),
        ("invite", "ada@acme.example", "--name", "x", "--role", "king"),
        ("invite", "ada@acme.example", "--name", "x", "--partner", "nobody"),
        ("roles", "acc_none"),
    ],
)
def test_refusals_are_one_line(store: Run, arguments: tuple[str, ...]) -> None:
    """Exit code 1, on stderr, and no mail."""
    assert "Error:" in store("people", *arguments, code=1).stderr
    assert outbox() == []


def test_a_mail_that_did_not_leave_is_told(store: Run) -> None:
    """The account is made, and the command says what is still to be done."""
    Path(".portreeve/outbox").write_text("in the way")
    assert "outbox" in store(*INVITE, code=1).stderr
    assert "invited" in store("people", "show", "ada@acme.example").stdout
