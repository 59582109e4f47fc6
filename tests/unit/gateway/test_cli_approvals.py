"""Second persons on the command line: who is asked, what is to be repeated, and who counts as who."""

import json
import os
import pwd
import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import HMAC, Run, read

LIVE = ("--partner", "acme", "--environment", "live", "--algorithm", "hmac-sha256", "--role", "trader")
ACCOUNT = pwd.getpwuid(os.getuid()).pw_name
As = Callable[[int | None], None]


@pytest.fixture
def sit_down(monkeypatch: pytest.MonkeyPatch) -> As:
    """Another account at this process, as the system tells it; None: the one that runs the tests."""
    own = os.getuid()

    def sit(number: int | None) -> None:
        monkeypatch.setattr(os, "getuid", lambda: own if number is None else number)

    return sit


Alone = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def alone_for(place: Path) -> Alone:
    """For a while there is no second person."""
    policies = place / ".portreeve/policies.toml"

    @contextmanager
    def alone() -> Iterator[None]:
        kept = policies.read_text("utf-8")
        policies.write_text("two_persons = false\n" + kept.partition("[[approvals]]")[0], "utf-8")
        try:
            yield
        finally:
            policies.write_text(kept, "utf-8")

    return alone


def ask(store: Run, *command: str) -> dict[str, Any]:
    """What a command says that needs a second person."""
    told: dict[str, Any] = json.loads(store(*command, "--json", code=1).stderr)
    return told


def repeat(store: Run, told: dict[str, Any]) -> Any:  # noqa: ANN401  whatever it prints
    assert told["repeat"].startswith("portreeve ")
    return read(store(*shlex.split(told["repeat"])[1:]))


def test_a_live_trading_key_is_made_by_two(store: Run, sit_down: As) -> None:
    """The line to repeat says the same again, the end of the key as a moment; nobody approves their own."""
    asked = (
        *LIVE,
        "--cidr",
        "192.0.2.0/24",
        "--cidr",
        "192.0.3.0/24",
        "--expires",
        "90d",
        "--label",
        "desk 'a'",
    )
    told = ask(store, "keys", "create", *asked, "--reason", "a new desk")
    assert "90d" not in told["repeat"]
    assert told["state"] == "pending"
    assert "yourself" in store("approvals", "approve", told["approval"], code=1).stderr
    sit_down(4_000_001)
    shown = read(store("approvals", "show", told["approval"], "--json"))
    assert (shown["requested_by"], shown["reason"]) == (f"cli:{ACCOUNT}", "a new desk")
    assert shown["change"]["cidrs"] == ["192.0.2.0/24", "192.0.3.0/24"]
    approved = read(store("approvals", "approve", told["approval"], "--reason", "seen", "--json"))
    assert (approved["state"], approved["decided_by"]) == ("approved", "cli:uid-4000001")
    sit_down(None)
    made = repeat(store, told)
    assert (made["environment"], made["label"], made["cidrs"]) == (
        "live",
        "desk 'a'",
        shown["change"]["cidrs"],
    )
    last = read(store("audit", "tail", "--limit", "1", "--json"))[0]
    assert (last["action"], last["reason"]) == ("api_key.created", "a new desk")
    assert "is used" in store(*shlex.split(told["repeat"])[1:], code=1).stderr


def test_people_are_told_in_words(store: Run) -> None:
    """What waits, what the other one types, and what to type then."""
    store("partners", "freeze", "acme")
    told = store("partners", "unfreeze", "acme", code=1).stderr
    (waiting,) = read(store("approvals", "list", "--json"))
    assert waiting["id"] in store("approvals", "list").stdout
    assert f"portreeve approvals approve {waiting['id']}" in told
    assert f"portreeve partners unfreeze acme --approval {waiting['id']}" in told
    shown = store("approvals", "show", waiting["id"]).stdout
    assert "partner.unfreeze" in shown


def test_a_configuration_that_was_named_is_named_again(store: Run) -> None:
    """The line leads to the same store."""
    store("partners", "freeze", "acme")
    config = (".portreeve/portreeve.toml",)
    told = ask(store, "partners", "unfreeze", "acme", "--config", *config)
    assert told["repeat"].endswith(f"--config {config[0]} --approval {told['approval']}")


def test_no_variable_says_who_acts(store: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The account is the system's to tell: else everybody would be their own second person."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.setenv(name, "mallory")
    store("partners", "freeze", "acme")
    assert read(store("audit", "tail", "--limit", "1", "--json"))[0]["actor"] == f"cli:{ACCOUNT}"
    told = ask(store, "partners", "unfreeze", "acme")
    assert "yourself" in store("approvals", "approve", told["approval"], code=1).stderr


def test_requests_are_refused_and_withdrawn(store: Run, sit_down: As) -> None:
    """A list shows what is open, and with --all what was."""
    first = ask(store, "keys", "create", *LIVE)["approval"]
    sit_down(4_000_001)
    assert read(store("approvals", "refuse", first, "--reason", "no", "--json"))["state"] == "refused"
    sit_down(None)
    second = ask(store, "keys", "create", *LIVE)["approval"]
    assert second != first
    assert read(store("approvals", "withdraw", second, "--json"))["state"] == "withdrawn"
    assert read(store("approvals", "list", "--json")) == []
    assert {one["id"] for one in read(store("approvals", "list", "--all", "--json"))} == {first, second}
    assert "no approval" in store("approvals", "show", "apr_nothing", code=1).stderr


def test_break_glass_is_opened_used_and_closed(store: Run) -> None:
    """Each act says that it is one; without it being open none passes."""
    store("partners", "freeze", "acme")
    alone = ("partners", "unfreeze", "acme", "--break-glass", "--reason", "the market is open")
    assert "no break-glass" in store(*alone, code=1).stderr
    opened = read(store("break-glass", "open", "--for", "5m", "--reason", "alone here", "--json"))
    assert [one["id"] for one in read(store("break-glass", "status", "--json"))] == [opened["id"]]
    assert "alone here" in store("break-glass", "status").stdout
    assert read(store(*alone, "--json"))["status"] == "active"
    verdicts = {one["subject"]: one for one in read(store("doctor", "--json"))}
    assert verdicts["second person"]["verdict"] == "warning"
    assert opened["id"] in verdicts["second person"]["detail"]
    closed = read(store("break-glass", "close", "--json"))
    assert "none open" in store("break-glass", "close").stderr
    assert "None is open" in store("break-glass", "status").stderr
    assert [(one["id"], one["closed_by"]) for one in closed] == [(opened["id"], f"cli:{ACCOUNT}")]
    assert read(store("break-glass", "status", "--json")) == []


@pytest.mark.parametrize(
    ("options", "code"),
    [((), 1), (("--reason", "x", "--for", "61m"), 1), (("--reason", "x", "--for", "soon"), 2)],
)
def test_break_glass_is_not_opened_just_so(store: Run, options: tuple[str, ...], code: int) -> None:
    """Without a reason, for too long, for no time."""
    store("break-glass", "open", *options, code=code)
    assert read(store("break-glass", "status", "--json")) == []


def test_a_key_is_changed_in_what_is_named(store: Run) -> None:
    """A list replaces the list; `all`, `any` and `never` take a bound away; what is not named stays."""
    key_id = read(store("keys", "create", *HMAC, "--cidr", "10.0.0.0/8", "--expires", "1d", "--json"))["id"]

    def change(*options: str) -> dict[str, Any]:
        changed: dict[str, Any] = read(store("keys", "change", key_id, *options, "--json"))
        return changed

    narrowed = change("--cidr", "10.1.0.0/16", "--permission", "orders:read", "--label", "narrow")
    assert (narrowed["cidrs"], narrowed["permissions"], narrowed["label"]) == (
        ["10.1.0.0/16"],
        ["orders:read"],
        "narrow",
    )
    assert narrowed["expires_at"] is not None
    wide = change("--cidr", "any", "--permission", "all", "--expires", "never", "--role", "viewer")
    assert (wide["cidrs"], wide["permissions"], wide["expires_at"]) == ([], None, None)
    assert (wide["roles"], wide["label"]) == (["viewer"], "narrow")
    for options, why in (
        ((), "nothing to change"),
        (("--role", "emperor"), "unknown role"),
        (("--permission", "orders:write"), "granted by none"),
        (("--expires", "2001-01-01T00:00:00Z"), "revoke it"),
    ):
        assert why in store("keys", "change", key_id, *options, code=1).stderr
    assert read(store("keys", "show", key_id, "--json"))["roles"] == ["viewer"]


def test_the_line_to_repeat_keeps_never(store: Run, sit_down: As) -> None:
    """A widening by words comes back in words."""
    key_id = read(
        store("keys", "create", *LIVE[:-1], "viewer", "--cidr", "10.0.0.0/8", "--expires", "1d", "--json")
    )["id"]
    told = ask(store, "keys", "change", key_id, "--expires", "never", "--cidr", "any")
    sit_down(4_000_001)
    store("approvals", "approve", told["approval"])
    sit_down(None)
    changed = repeat(store, told)
    assert (changed["expires_at"], changed["cidrs"]) == (None, [])


def test_a_partner_is_renamed(store: Run) -> None:
    """Name and tier, each for itself."""
    assert read(store("partners", "change", "acme", "--name", "Acme Ltd", "--json"))["name"] == "Acme Ltd"
    assert "unknown tier" in store("partners", "change", "acme", "--tier", "gold", code=1).stderr
    assert "nothing to change" in store("partners", "change", "acme", code=1).stderr


def test_a_shop_of_one_is_warned(store: Run, alone: None) -> None:
    """Wherever somebody asks how things stand; and one person is enough."""
    assert "two_persons = false" in store("config", "check").stderr
    assert read(store("config", "check", "--json"))["two_persons"] is False
    verdicts = {one["subject"]: one for one in read(store("doctor", "--json"))}
    assert verdicts["second person"]["verdict"] == "warning"
    store("partners", "freeze", "acme")
    store("partners", "unfreeze", "acme")
    store("keys", "create", *LIVE)


def test_an_account_s_yes_is_told_for_what_it_is(store: Run, sit_down: As, place: Path) -> None:
    """By the doctor, while it can be used; and where the policies ask for a key, an account gives none."""

    def second_person() -> tuple[str, str]:
        (found,) = [one for one in read(store("doctor", "--json")) if one["subject"] == "second person"]
        return found["verdict"], found["detail"]

    assert second_person()[0] == "ok"
    assert "accounts of this machine" in second_person()[1]
    told = ask(store, "keys", "create", *LIVE)
    sit_down(4_000_001)
    store("approvals", "approve", told["approval"])
    verdict, detail = second_person()
    assert verdict == "warning"
    assert told["approval"] in detail
    sit_down(None)
    policies = place / ".portreeve/policies.toml"
    policies.write_text('deciders = "keys"\n' + policies.read_text("utf-8"), "utf-8")
    assert read(store("config", "check", "--json"))["deciders"] == "keys"
    assert second_person() == ("ok", "asked for where the policies say so, and decided with a key")
    store("approvals", "withdraw", told["approval"])
    told = ask(store, "keys", "create", *LIVE)
    sit_down(4_000_001)
    for verb in ("approve", "refuse"):
        assert 'deciders = "keys"' in store("approvals", verb, told["approval"], code=1).stderr


def test_whoever_would_be_shown_a_traders_secret_may_need_a_second_person(
    store: Run, sit_down: As, place: Path
) -> None:
    """A rule about rotating asks what the key may do; a viewer's secret is rotated by one."""
    policies = place / ".portreeve/policies.toml"
    rule = '\n[[approvals]]\naction = "secret.rotate"\ntrading = true\n'
    policies.write_text(policies.read_text("utf-8") + rule, "utf-8")
    trader = read(store("keys", "create", *HMAC, "--json"))["id"]
    told = ask(store, "secrets", "rotate", trader, "--overlap", "1h")
    sit_down(4_000_001)
    store("approvals", "approve", told["approval"])
    sit_down(None)
    assert repeat(store, told)["version"] == 2
    viewing = [*HMAC[:-1], "viewer"] if HMAC[-2] == "--role" else [*HMAC]
    viewer = read(store("keys", "create", *viewing, "--json"))["id"]
    assert read(store("secrets", "rotate", viewer, "--json"))["version"] == 2


def test_an_approved_rotation_is_of_the_versions_that_were_seen(
    store: Run, sit_down: As, place: Path, alone_for: Alone
) -> None:
    """What was agreed to end one version does not end the one that somebody else has made since."""
    policies = place / ".portreeve/policies.toml"
    rule = '\n[[approvals]]\naction = "secret.rotate"\ntrading = true\n'
    policies.write_text(policies.read_text("utf-8") + rule, "utf-8")
    trader = read(store("keys", "create", *HMAC, "--json"))["id"]
    told = ask(store, "secrets", "rotate", trader, "--overlap", "1h")
    sit_down(4_000_001)
    store("approvals", "approve", told["approval"])
    sit_down(None)
    with alone_for():
        store("secrets", "rotate", trader, "--overlap", "1h")
    assert "changed" in store(*shlex.split(told["repeat"])[1:], code=1).stderr
    versions = read(store("keys", "show", trader, "--json"))["versions"]
    assert [version["state"] for version in versions] == ["retiring", "active"]


@pytest.mark.usefixtures("store")
def test_a_secret_that_could_approve_is_rotated_by_two(run: Run, place: Path, alone_for: Alone) -> None:
    """Or one person could take over the other's key, and approve what they asked for themselves."""
    with alone_for():
        made = read(run("keys", "create", "--partner", "acme", "--environment", "live", "--algorithm",
                        "hmac-sha256", "--role", "security-officer", "--json"))  # fmt: skip
    assert ask(run, "secrets", "rotate", made["id"])["state"] == "pending"
