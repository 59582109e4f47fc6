"""`portreeve kms`: data keys shown, rotated and resealed, and moved between master key files, HSMs and AWS."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import HMAC, Run, read
from tests.support.kms_sites import HSM_LABEL, PIN, Hsm, MotoKms

MASTER = 'master_key = "file:master.key"'


@pytest.fixture
def config(place: Path) -> Path:
    return place / ".portreeve" / "portreeve.toml"


def configure(config: Path, *tables: str) -> None:
    """[kms] and what stands below it, in place of what is there."""
    lines = config.read_text().splitlines()
    start = lines.index("[kms]")
    end = next(n for n in range(start + 1, len(lines)) if lines[n].startswith("[") and "kms" not in lines[n])
    config.write_text("\n".join([*lines[:start], *tables, "", *lines[end:]]) + "\n")


def hsm_table(hsm: Hsm, label: str) -> str:
    return (
        f'backend = "pkcs11"\nmodule = "{hsm.module}"\nhsm = "{HSM_LABEL}"\nkey = "{label}"\n'
        'pin = "env:PORTREEVE_TEST_PIN"'
    )


def aws_table(moto: MotoKms, arn: str) -> str:
    return f'backend = "aws"\nkey = "{arn}"\nendpoint = "{moto.endpoint}"'


def wrapped(run: Run) -> set[tuple[str, ...]]:
    """Which backends wrap the data keys."""
    return {
        tuple(sorted(name.split(" ")[0] for name in each["wrapped_by"]))
        for each in read(run("kms", "status", "--json"))
    }


def test_status_names_every_data_key(store: Run) -> None:
    """Its epoch, what wraps it, and how much is sealed under it."""
    store("keys", "create", *HMAC)
    shown = {each["environment"]: each for each in read(store("kms", "status", "--json"))}
    assert {name: (one["epoch"], one["state"], one["secrets"]) for name, one in shown.items()} == {
        "paper": (1, "active", 1),
        "live": (1, "active", 0),
        # Of identity assertions, of access tokens, and of the ledger.
        "service": (1, "active", 3),
    }
    assert all(one["wrapped_by"][0].startswith("local key ") for one in shown.values())
    assert shown["paper"]["id"] in store("kms", "status").stdout


@pytest.mark.usefixtures("alone")
def test_rotate_and_reseal(store: Run) -> None:
    """A new epoch, everything moved to it, and the ledger tells who and why."""
    made = read(store("keys", "create", *HMAC, "--json"))
    begun = read(store("kms", "rotate", "paper", "--reason", "yearly", "--json"))
    assert (begun["environment"], begun["epoch"]) == ("paper", 2)
    done = read(store("kms", "reseal", "--reason", "yearly", "--json"))
    assert (done["resealed_secrets"], done["broken"], done["destroyed_data_keys"]) == (1, [], [])
    assert len(done["empty_but_too_young"]) == 1
    sealed = {
        (each["environment"], each["epoch"]): each["secrets"]
        for each in read(store("kms", "status", "--json"))
    }
    assert (sealed["paper", 1], sealed["paper", 2]) == (0, 1)
    told = {each["action"]: each for each in read(store("audit", "tail", "--json"))}
    assert told["data_key.resealed"]["reason"] == told["data_key.retiring"]["reason"] == "yearly"
    assert made["secret"] not in json.dumps(told)
    store("kms", "rotate", "nowhere", code=2)


def test_a_second_person_is_told_how_to_go_on(store: Run) -> None:
    """Of what the example policies name; what would change nothing asks nobody."""
    told = json.loads(store("kms", "rotate", "paper", "--reason", "yearly", "--json", code=1).stderr)
    assert told["repeat"].endswith(f"kms rotate paper --reason yearly --json --approval {told['approval']}")
    assert read(store("kms", "reseal", "--json"))["resealed_secrets"] == 0
    assert read(store("kms", "rewrap", "--remove-old", "--json"))["added_wrappings"] == 0
    store("break-glass", "open", "--for", "5m", "--reason", "alone here")
    alone = ("--break-glass", "--reason", "alone here", "--json")
    assert read(store("kms", "rotate", "paper", *alone))["epoch"] == 2
    waiting = json.loads(store("kms", "reseal", "--json", code=1).stderr)
    assert read(store("approvals", "show", waiting["approval"], "--json"))["action"] == "kms.reseal"
    assert len(read(store("kms", "reseal", *alone))["empty_but_too_young"]) == 1


@pytest.mark.usefixtures("alone")
def test_moving_to_an_hsm_and_on_to_aws(
    store: Run, config: Path, hsm: Hsm, moto_kms: MotoKms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File to HSM with AWS as a second, then away from the file; a node of each configuration opens everything."""
    monkeypatch.setenv("PORTREEVE_TEST_PIN", PIN)
    store("keys", "create", *HMAC)
    label, arn = hsm.new_label(), moto_kms.create_key()
    ours, also = hsm_table(hsm, label), aws_table(moto_kms, arn)
    configure(config, "[kms]", ours, "[kms.second]", also, "[[kms.previous]]", MASTER)
    assert "restore it" in store("init", code=1).stderr
    assert f"key {label} in the HSM {HSM_LABEL} (made)" in store("kms", "create").stdout
    assert f"AWS KMS key {arn} (was there)" in store("kms", "create").stdout
    assert wrapped(store) == {("local",)}
    assert read(store("kms", "rewrap", "--json")) == {
        "data_keys": 3,
        "added_wrappings": 6,
        "removed_wrappings": 0,
    }
    assert wrapped(store) == {("aws", "local", "pkcs11")}
    assert "removed wrappings" in store("kms", "rewrap", "--remove-old").stdout
    assert wrapped(store) == {("aws", "pkcs11")}
    for table in (ours, also):
        configure(config, "[kms]", table)
        assert "opens every data key (3)" in read_doctor(store)["KMS"]
        store("keys", "create", *HMAC)
    configure(config, "[kms]", MASTER)
    refused = store("keys", "create", *HMAC, code=1).stderr
    assert "configured is local key" in refused


def test_starting_on_an_hsm(
    run: Run, config: Path, hsm: Hsm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`init` makes the key in it, once; a wrong PIN is one line."""
    monkeypatch.setenv("PORTREEVE_TEST_PIN", PIN)
    label = hsm.new_label()
    configure(config, "[kms]", hsm_table(hsm, label), "[kms.second]", 'master_key = "file:second.key"')
    made = run("init").stdout
    assert f"key {label} in the HSM {HSM_LABEL} (made)" in made
    assert "second.key (made)" in made
    assert "(was there)" in run("init").stdout
    assert wrapped(run) == {("local", "pkcs11")}
    assert not (tmp_path / ".portreeve" / "master.key").exists()
    monkeypatch.setenv("PORTREEVE_TEST_PIN", "not-it")
    configure(config, "[kms]", hsm_table(hsm, label))
    refused = run("partners", "create", "acme")
    assert refused.exit_code == 0
    # An HSM asks for the PIN once a process: in this one it has been given.
    command = [sys.executable, "-m", "gateway", "--config", str(config), "keys", "create", *HMAC]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "refused the PIN" in done.stderr
    assert "not-it" not in done.stdout + done.stderr


def read_doctor(run: Run) -> dict[str, Any]:
    return {each["subject"]: each["detail"] for each in read_lines(run)}


def read_lines(run: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read(run("doctor", "--json"))
    return found
