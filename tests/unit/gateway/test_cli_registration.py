"""`portreeve clients registration-tokens`, run as a shell would."""

from tests.support.commands import Run, read

TOKENS = ("clients", "registration-tokens")
CREATE = (*TOKENS, "create", "--partner", "acme", "--environment", "paper", "--role", "viewer")


def test_a_registration_token_is_printed_once(store: Run) -> None:
    """By the command that made it, and by no other."""
    made = read(store(*CREATE, "--uses", "3", "--json"))
    assert made["secret"].startswith("pit_paper_")
    assert (made["uses_left"], made["status"], made["roles"]) == (3, "active", ["viewer"])
    assert "this once" in store(*CREATE).stderr
    listed = store(*TOKENS, "list", "--partner", "acme", "--json")
    assert "pit_" not in listed.stdout
    assert [one["uses_left"] for one in read(listed)] == [3, 1]


def test_a_registration_token_is_revoked(store: Run) -> None:
    """For good."""
    made = read(store(*CREATE, "--json"))
    assert read(store(*TOKENS, "revoke", made["id"], "--json"))["status"] == "revoked"
    assert "for good" in store(*TOKENS, "revoke", made["id"], code=1).stderr
    assert "there is no registration token" in store(*TOKENS, "revoke", "reg_none", code=1).stderr
    assert made["id"] in store(*TOKENS, "list").stdout


def test_a_role_has_to_be_there(store: Run) -> None:
    """Nobody registers clients of a role that nobody has defined."""
    assert "unknown role" in store(*CREATE, "--role", "emperor", code=1).stderr
