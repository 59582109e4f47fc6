"""The operators' commands, run as a shell would, against a store of their own."""

import json
import re
from pathlib import Path

import click.testing
import pytest

import compiled
from gateway import cli, serving, settings
from gateway.cli import key_commands
from gateway.demo import example
from tests.support.commands import HMAC, Run, read

PUBLIC_KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


def test_help_names_every_command(run: Run) -> None:
    """Each one can be loaded, and has a line to say for itself."""
    shown = run("--help").stdout
    for name in cli.COMMANDS:
        assert f"\n  {name} " in shown
        assert run(name, "--help").stdout


def test_an_unknown_command_is_wrong_usage(run: Run) -> None:
    """Exit code 2 is for what was typed wrong."""
    run("frobnicate", code=2)


def test_without_a_configuration_the_error_says_where_it_was_sought(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All four ways to name one are in the message."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    told = run("config", "check", code=1).stderr
    for way in ("--config", "PORTREEVE_CONFIG", "./portreeve.toml", "./.portreeve/portreeve.toml"):
        assert way in told


def test_the_configuration_is_found_in_the_promised_order(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The option wins over the variable, that over the directory, and that over `.portreeve`."""

    def copy(name: str) -> Path:
        (place / name).mkdir()
        example.render(place / name, example.Ports(8080, 1, 2))
        return place / name / "portreeve.toml"

    def found(*arguments: str) -> str:
        file: str = read(run(*arguments, "config", "check", "--json"))["file"]
        return file

    assert found() == str(place / ".portreeve/portreeve.toml")
    example.render(place, example.Ports(8080, 1, 2))
    assert found() == str(place / "portreeve.toml")
    variable, option = copy("variable"), copy("option")
    monkeypatch.setenv("PORTREEVE_CONFIG", str(variable))
    assert found() == str(variable)
    assert found("--config", str(option)) == str(option)
    behind = read(run("config", "check", "--json", "--config", str(option)))
    assert behind["file"] == str(option)


def test_config_check_tells_what_it_found(run: Run, place: Path) -> None:
    """A configuration that holds is summed up, and nothing is made by looking at it."""
    assert "The configuration holds." in run("config", "check").stdout
    assert {file.name for file in (place / ".portreeve").iterdir()} == {"policies.toml", "portreeve.toml"}


def test_config_check_names_the_place_of_an_error(run: Run, place: Path) -> None:
    """A misspelt key is refused with its way into the file."""
    file = place / ".portreeve/portreeve.toml"
    file.write_text(file.read_text("utf-8").replace("idle_ms = 10000", "idel_ms = 10000", 1), "utf-8")
    assert "idel_ms" in run("config", "check", code=1).stderr


def test_init_makes_everything_once(run: Run, place: Path) -> None:
    """A second run finds all of it and leaves the master key alone."""
    assert "(made)" in run("init").stdout
    master = (place / ".portreeve/master.key").read_bytes()
    assert "(was there)" in run("init").stdout
    assert (place / ".portreeve/master.key").read_bytes() == master
    for name in ("master.key", "portreeve.db"):
        assert (place / ".portreeve" / name).stat().st_mode & 0o777 == 0o600


def test_init_makes_no_second_master_key_for_a_store_with_a_first(run: Run, place: Path) -> None:
    """What the lost one wrapped would be lost for good behind a new one."""
    run("init")
    (place / ".portreeve/master.key").unlink()
    assert "restore it" in run("init", code=1).stderr
    assert not (place / ".portreeve/master.key").exists()


def test_a_store_that_was_not_prepared_is_refused(run: Run) -> None:
    """The message names the command that prepares it."""
    assert "portreeve init" in run("partners", "list", code=1).stderr


def test_partners_are_created_listed_and_shown(store: Run) -> None:
    """Both as a table and as JSON."""
    assert "Acme Trading" in store("partners", "list").stdout
    assert [one["id"] for one in read(store("partners", "list", "--json"))] == ["acme"]
    shown = read(store("partners", "show", "acme", "--json"))
    assert (shown["name"], shown["tier"], shown["status"]) == ("Acme Trading", "standard", "active")
    assert read(store("partners", "create", "borealis", "--json"))["name"] == "borealis"


def test_partners_are_refused_by_name(store: Run) -> None:
    """A second acme, an id out of shape, an unknown tier and an unknown partner each say what is wrong."""
    assert "exists" in store("partners", "create", "acme", code=1).stderr
    assert "partner id" in store("partners", "create", "A c m e", code=1).stderr
    assert "platinum" in store("partners", "create", "borealis", "--tier", "platinum", code=1).stderr
    assert "nobody" in store("partners", "show", "nobody", code=1).stderr


def test_a_partner_is_frozen_and_unfrozen(store: Run, alone: None) -> None:
    """With the reason, and only in turn."""
    frozen = read(store("partners", "freeze", "acme", "--reason", "unpaid", "--json"))
    assert (frozen["status"], frozen["frozen_reason"]) == ("frozen", "unpaid")
    store("partners", "freeze", "acme", code=1)
    assert read(store("partners", "unfreeze", "acme", "--json"))["status"] == "active"
    store("partners", "unfreeze", "acme", code=1)


def test_a_secret_is_printed_once_and_stored_nowhere_in_the_clear(store: Run, place: Path) -> None:
    """No other command prints it, and no file holds it."""
    made = read(store("keys", "create", *HMAC, "--json"))
    secret = made["secret"]
    assert (made["version"], made["id"][:10], secret[:10]) == (1, "prk_paper_", "prs_paper_")
    for command in (("keys", "show", made["id"]), ("keys", "list"), ("audit", "tail")):
        assert secret not in store(*command).output
        assert secret not in store(*command, "--json").output
    for file in (place / ".portreeve").iterdir():
        assert secret.encode() not in file.read_bytes()


def test_the_table_form_warns_that_the_secret_is_not_shown_again(store: Run) -> None:
    """The warning stays off stdout, the secret stays off stderr."""
    result = store("keys", "create", *HMAC)
    assert "store it now" in result.stderr
    assert "prs_paper_" in result.stdout
    assert "prs_paper_" not in result.stderr


def test_every_option_of_a_new_key_is_kept(store: Run) -> None:
    """Roles, address ranges, expiry and label come back as they were given."""
    options = ("--cidr", "192.0.2.0/24", "--cidr", "2001:db8::/32", "--expires", "2999-01-01T00:00:00Z")
    made = read(store("keys", "create", *HMAC, *options, "--role", "viewer", "--label", "algo [1]", "--json"))
    shown = read(store("keys", "show", made["id"], "--json"))
    assert shown["roles"] == ["trader", "viewer"]
    assert shown["cidrs"] == ["192.0.2.0/24", "2001:db8::/32"]
    assert shown["expires_at"] == "2999-01-01T00:00:00.000Z"
    assert shown["label"] == "algo [1]"
    assert [version["state"] for version in shown["versions"]] == ["active"]
    assert "algo [1]" in store("keys", "list").stdout


def test_a_key_is_narrowed_to_permissions(store: Run) -> None:
    """Only these of what its roles grant, once each, and `show` tells them; a key that isn't narrowed says so."""
    narrowed = (
        "--permission",
        "orders:read",
        "--permission",
        "positions:read",
        "--permission",
        "orders:read",
    )
    made = read(store("keys", "create", *HMAC, *narrowed, "--json"))
    assert made["permissions"] == ["orders:read", "positions:read"]
    assert re.search(
        r"permissions +orders:read, positions:read *\n", store("keys", "show", made["id"]).stdout
    )
    whole = read(store("keys", "create", *HMAC, "--json"))
    assert read(store("keys", "show", whole["id"], "--json"))["permissions"] is None


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--permission", "orders:fly"), "unknown permission 'orders:fly'"),
        (("--permission", "Orders"), "unknown permission 'Orders'"),
        (("--permission", "orders:write"), "'orders:write' is granted by none of the roles viewer"),
        (
            ("--permission", "orders:read", "--permission", "orders:write"),
            "'orders:write' is granted by none",
        ),
        (("--role", "emperor", "--permission", "orders:read"), "unknown role 'emperor'"),
    ],
)
def test_a_key_gets_no_permission_that_its_roles_do_not_grant(
    store: Run, options: tuple[str, ...], why: str
) -> None:
    """A list can only narrow; one that names more is a mistake, told before anything is made."""
    viewer = (*HMAC[:-1], "viewer")
    assert why in store("keys", "create", *viewer, *options, code=1).stderr
    assert read(store("keys", "list", "--json")) == []


def test_an_ed25519_key_stores_a_public_key_and_has_no_secret(store: Run) -> None:
    """The partner keeps the private half."""
    asked = ("--partner", "acme", "--environment", "live", "--algorithm", "ed25519", "--role", "viewer")
    made = read(store("keys", "create", *asked, "--public-key", PUBLIC_KEY, "--json"))
    assert "secret" not in made
    shown = read(store("keys", "show", made["id"], "--json"))
    assert shown["versions"][0]["public_key"] == PUBLIC_KEY
    assert store("keys", "create", *asked, "--public-key", PUBLIC_KEY).stderr == ""


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--algorithm", "ed25519"), 1),
        (("--algorithm", "ed25519", "--public-key", "00" * 32), 1),
        (("--public-key", PUBLIC_KEY), 1),
        (("--public-key", "xyz"), 2),
        (("--algorithm", "rsa"), 2),
        (("--environment", "test"), 2),
        (("--role", "emperor"), 1),
        (("--partner", "nobody"), 1),
        (("--cidr", "192.0.2.1/24"), 1),
        (("--expires", "yesterday"), 2),
        (("--expires", "2001-01-01T00:00:00Z"), 1),
        (("--label", "a\x1b[2J"), 1),
    ],
)
def test_what_a_key_can_not_be_is_refused(store: Run, options: tuple[str, ...], code: int) -> None:
    """Wrong usage is 2, what the store or the policies refuse is 1, and no key is left behind."""
    store("keys", "create", *HMAC, *options, code=code)
    assert read(store("keys", "list", "--json")) == []


def test_a_key_is_frozen_unfrozen_and_revoked_for_good(store: Run, alone: None) -> None:
    """Each with its reason; after the last nothing more."""
    key_id = read(store("keys", "create", *HMAC, "--json"))["id"]
    assert read(store("keys", "freeze", key_id, "--reason", "odd", "--json"))["status"] == "frozen"
    assert read(store("keys", "unfreeze", key_id, "--json"))["status"] == "active"
    revoked = read(store("keys", "revoke", key_id, "--reason", "leaked", "--json"))
    assert (revoked["status"], revoked["revoked_reason"]) == ("revoked", "leaked")
    for verb in ("revoke", "freeze", "unfreeze"):
        assert "revoked" in store("keys", verb, key_id, code=1).stderr
    assert "prk_nothing" in store("keys", "show", "prk_nothing", code=1).stderr


def test_keys_are_listed_whole_over_several_pages(
    store: Run, alone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filters hold, and a page's end is not the list's."""
    monkeypatch.setattr(key_commands, "PAGE", 1)
    made = [read(store("keys", "create", *HMAC, "--json"))["id"] for _ in range(3)]
    live = read(store("keys", "create", *HMAC, "--environment", "live", "--json"))["id"]
    assert {one["id"] for one in read(store("keys", "list", "--json"))} == {*made, live}
    assert {one["id"] for one in read(store("keys", "list", "--environment", "paper", "--json"))} == set(made)
    assert read(store("keys", "list", "--partner", "borealis", "--json")) == []


def test_the_audit_tail_tells_who_did_what_and_why(store: Run) -> None:
    """The newest comes last, and the limit counts from there."""
    store("partners", "freeze", "acme", "--reason", "unpaid")
    last = read(store("audit", "tail", "--limit", "1", "--json"))
    assert [(one["action"], one["subject"], one["reason"]) for one in last] == [
        ("partner.frozen", "acme", "unpaid")
    ]
    assert last[0]["actor"].startswith("cli:")
    assert "partner.frozen" in store("audit", "tail").stdout


def test_the_doctor_finds_a_store_that_was_not_prepared_and_leaves_it_so(run: Run, place: Path) -> None:
    """It exits with 1, names the cure, and makes no file."""
    result = click.testing.CliRunner().invoke(cli.cli, ["doctor", "--json"])
    assert result.exit_code == 1
    verdicts = {one["subject"]: one["verdict"] for one in json.loads(result.stdout)}
    assert verdicts["schema"] == verdicts["KMS"] == verdicts["signing keys"] == "failed"
    assert {file.name for file in (place / ".portreeve").iterdir()} == {"policies.toml", "portreeve.toml"}


def test_the_doctor_is_content_with_a_prepared_store(store: Run) -> None:
    """Upstreams that are away are a warning: they take only their own routes along."""
    verdicts = {one["subject"]: one["verdict"] for one in read(store("doctor", "--json"))}
    assert verdicts["upstream paper-trading"] == "warning"
    assert verdicts["signing keys"] == "ok"
    assert "failed" not in verdicts.values()
    assert "can't" not in store("doctor").stdout.split("upstream")[0]


def test_the_doctor_notices_files_that_others_can_write(store: Run, place: Path) -> None:
    """A state directory open to others is a failure."""
    (place / ".portreeve").chmod(0o777)
    result = click.testing.CliRunner().invoke(cli.cli, ["doctor", "--json"])
    assert result.exit_code == 1
    failed = [one["subject"] for one in json.loads(result.stdout) if one["verdict"] == "failed"]
    assert failed == ["state directory"]


@pytest.mark.parametrize(
    ("why_not", "verdict", "detail"),
    [
        ("", "ok", "compiled"),
        (compiled.TURNED_OFF, "ok", "interpreted (turned off)"),
        ("not built", "warning", "interpreted (not built): requests cost more"),
    ],
)
def test_the_doctor_tells_what_runs_compiled(
    run: Run, monkeypatch: pytest.MonkeyPatch, why_not: str, verdict: str, detail: str
) -> None:
    """Who turned it off knows; whoever has no build may not."""
    monkeypatch.setattr(compiled, "WHY_NOT", why_not)
    monkeypatch.setattr(compiled, "IS_USED", not why_not)
    result = click.testing.CliRunner().invoke(cli.cli, ["doctor", "--json"])
    (found,) = [one for one in json.loads(result.stdout) if one["subject"] == "compiled room"]
    assert (found["verdict"], found["detail"]) == (verdict, detail)


def test_serve_hands_on_what_was_asked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration found, the surfaces named and the number of workers reach the application."""
    seen: list[tuple[Path, tuple[str, ...] | None, int | None]] = []

    def serve(
        configured: settings.Settings, *, surfaces: tuple[str, ...] | None, workers: int | None
    ) -> None:
        seen.append((configured.file, surfaces, workers))

    monkeypatch.setattr(serving, "serve", serve)
    run("serve")
    run("serve", "--surface", "edge, control,edge", "--workers", "2")
    config = Path(".portreeve/portreeve.toml").absolute()
    assert seen == [(config, None, None), (config, ("edge", "control"), 2)]


@pytest.mark.parametrize("options", [("--surface", "edge,admin"), ("--surface", ""), ("--workers", "0")])
def test_serve_refuses_what_is_not_there(run: Run, options: tuple[str, ...]) -> None:
    """An unknown surface is wrong usage, not a surface that happens to serve nothing."""
    run("serve", *options, code=2)
