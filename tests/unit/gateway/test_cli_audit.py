"""`portreeve audit`, as a shell runs it; and the auditor's runbook, step by step."""

import json
import shutil
import socket
from pathlib import Path

import pytest

from tests.support.commands import HMAC, Run, read
from tests.support.ledger import parse, write


@pytest.fixture
def audited(store: Run, alone: None) -> Run:
    """With a dozen entries."""
    key = ""
    for _ in range(3):
        key = read(store("keys", "create", *HMAC, "--json"))["id"]
        store("keys", "freeze", key, "--reason", "Odd traffic")
        store("keys", "unfreeze", key)
    store("keys", "revoke", key, "--reason", "leaked to a mailing list")
    return store


def test_an_auditor_verifies_without_trusting_us(
    audited: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/runbooks/auditors-verification.md: keys once; then export, verify, keep; far from the store."""
    keys, first, second = tmp_path / "keys.json", tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    keys.write_text(audited("audit", "keys").stdout)
    first.write_bytes(audited("audit", "export").stdout_bytes)
    audited("partners", "freeze", "acme", "--reason", "credit check")
    second.write_bytes(audited("audit", "export").stdout_bytes)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    pinned = ("--keys", str(keys))
    assert "The ledger holds." in audited("audit", "verify", str(first), *pinned).stdout
    held = audited("audit", "verify", str(second), *pinned, "--kept", str(first), "--json")
    report = read(held)
    assert (report["first"], report["pinned"]) == (1, True)
    assert "pinned" not in held.stderr
    kid = json.loads(keys.read_text())["keys"][0]["kid"]
    assert audited("audit", "verify", str(second), "--key", kid).exit_code == 0
    assert "vouched" in audited("audit", "verify", str(second), "--key", "another", code=1).stderr
    assert "No key was pinned" in audited("audit", "verify", str(second)).stderr


def test_what_was_edited_is_named(audited: Run, tmp_path: Path) -> None:
    """In a line on stderr, with exit code 1."""
    lines = audited("audit", "export").stdout_bytes.splitlines(keepends=True)
    at = next(index for index, line in enumerate(lines) if b"mailing list" in line)
    content = parse(lines[at])[1] | {"reason": "routine"}
    edited = tmp_path / "edited.jsonl"
    edited.write_bytes(b"".join([*lines[:at], write("entry", content), *lines[at + 1 :]]))
    assert f"entry {content['seq']} was altered" in audited("audit", "verify", str(edited), code=1).stderr
    edited.write_bytes(b"".join(lines[:-1]))
    assert "cut off" in audited("audit", "verify", str(edited), code=1).stderr
    assert "None" in audited("audit", "verify", str(tmp_path / "None"), code=1).stderr
    for wrong in ('{"keys": []}', "[]", "no json", '{"keys": [{"kty": "RSA"}]}'):
        (tmp_path / "wrong.json").write_text(wrong)
        audited("audit", "verify", str(edited), "--keys", str(tmp_path / "wrong.json"), code=1)
    assert "does not end" in audited("audit", "verify", "-", "--kept", str(edited), code=1).stderr


def test_an_export_is_compared_with_the_store(audited: Run, tmp_path: Path) -> None:
    """The store verifies by itself, and says the same as the export."""
    export = tmp_path / "ledger.jsonl"
    export.write_bytes(audited("audit", "export", "--from", "3", "--to", "6").stdout_bytes)
    shown = read(audited("audit", "verify", str(export), "--against-store", "--json"))
    assert (shown["first"], shown["last"], shown["entries"]) == (3, 6, 4)
    whole = read(audited("audit", "verify", "--json"))
    assert whole["last"] > 6
    assert whole["signed_at"] is None


def test_a_checkpoint_is_made_when_asked_for(audited: Run) -> None:
    """Over everything so far, once."""
    made = read(audited("audit", "checkpoint", "--json"))
    assert made["seq"] == read(audited("audit", "tail", "--limit", "1", "--json"))[0]["seq"]
    assert read(audited("audit", "checkpoint", "--json")) == made
    assert made["root"] in audited("audit", "checkpoint").stdout


def test_entries_are_found_page_by_page(audited: Run) -> None:
    """By what was done and why, in a table or as JSON; the next page is named."""
    found = read(
        audited("audit", "search", "--action", "api_key.", "--text", "odd", "--limit", "2", "--json")
    )
    assert [entry["action"] for entry in found["entries"]] == ["api_key.frozen"] * 2
    rest = read(audited("audit", "search", "--text", "odd", "--before", str(found["before"]), "--json"))
    assert (len(rest["entries"]), rest["before"]) == (1, None)
    shown = audited("audit", "search", "--since", "1h", "--limit", "1")
    assert "leaked to a mailing list" in shown.stdout
    assert "--before" in shown.stderr
    assert read(audited("audit", "search", "--until", "1h", "--json"))["entries"] == []
    audited("audit", "search", "--since", "yesterday", code=2)


def test_a_part_is_exported_from_a_moment_on(audited: Run, tmp_path: Path) -> None:
    """Nothing since then is an export too; what is asked for twice or is not there is refused."""
    export = tmp_path / "none.jsonl"
    export.write_bytes(audited("audit", "export", "--since", "2999-01-01T00:00:00Z").stdout_bytes)
    assert read(audited("audit", "verify", str(export), "--json"))["entries"] == 0
    export.write_bytes(audited("audit", "export", "--since", "1h").stdout_bytes)
    assert read(audited("audit", "verify", str(export), "--json"))["first"] == 1
    audited("audit", "export", "--since", "1h", "--from", "2", code=2)
    assert "ends at entry" in audited("audit", "export", "--to", "9999", code=1).stderr


def test_a_checkpoint_that_was_noted_is_enough_to_compare(audited: Run, tmp_path: Path) -> None:
    """Its number and root, without the export; what is neither that nor a file is refused."""
    held = read(audited("audit", "verify", "--json"))
    export = tmp_path / "ledger.jsonl"
    export.write_bytes(audited("audit", "export").stdout_bytes)
    audited("audit", "verify", str(export), "--kept", f"{held['seq']}:{held['root']}")
    other = f"{held['seq']}:{'0' * 64}"
    assert "kept from earlier" in audited("audit", "verify", str(export), "--kept", other, code=1).stderr
    audited("audit", "verify", str(export), "--kept", "0:zz", code=1)


def test_a_store_begins_signed(store: Run) -> None:
    """By `init`: a first checkpoint that comes later than that has had others before it."""
    shown = read(store("audit", "verify", "--json"))
    assert shown["checkpoints"] == 1
    assert shown["pinned"] is True
    assert shown["late"] == []


def test_a_restored_ledger_is_acknowledged(audited: Run, tmp_path: Path) -> None:
    """docs/runbooks/restore-from-backup.md: nothing is signed before; a store that was made anew needs no more."""
    (database,) = tmp_path.rglob("*.db")
    backup = tmp_path / "backup"
    shutil.copy(database, backup)
    ledger = tmp_path / "ledger.jsonl"
    audited("partners", "freeze", "acme", "--reason", "credit check")
    ledger.write_bytes(audited("audit", "export").stdout_bytes)
    assert "nothing to acknowledge" in audited("audit", "acknowledge", "--reason", "habit", code=1).stderr
    for left in tmp_path.rglob("*.db-*"):
        left.unlink()
    shutil.copy(backup, database)
    for command in ("checkpoint", "export"):
        assert "audit acknowledge" in audited("audit", command, code=1).stderr
    held = read(audited("audit", "verify", "--json"))
    audited("audit", "verify", str(ledger), "--kept", f"{held['seq']}:{held['root']}")
    made = read(audited("audit", "acknowledge", "--reason", "restored", "--json"))
    assert made["seq"] == held["seq"] + 1
    assert read(audited("audit", "tail", "--limit", "1", "--json"))[0]["action"] == "ledger.acknowledged"
    audited("audit", "export")


def test_one_entry_is_shown_whole(audited: Run) -> None:
    """By its number, with what the table of many leaves out."""
    made = read(audited("audit", "search", "--action", "api_key.created", "--json"))["entries"][0]
    assert read(audited("audit", "show", str(made["seq"]), "--json")) == made
    shown = audited("audit", "show", str(made["seq"])).stdout
    for part in (made["hash"], made["actor"], "trader"):
        assert part in shown
    # The same account name is somebody else on another machine.
    assert made["source"] == f"host:{socket.gethostname()}"
    assert "no entry 999" in audited("audit", "show", "999", code=1).stderr


def test_what_belongs_to_neither_environment_is_found(audited: Run) -> None:
    """Such as the data key of our own signing keys."""
    (found,) = read(audited("audit", "search", "--environment", "service", "--json"))["entries"]
    assert found["action"] == "data_key.created"


def test_a_kept_root_that_is_none_is_not_taken_for_a_file(audited: Run) -> None:
    """Half of it was copied: the message says what a whole one is."""
    assert "64 lowercase hex digits" in audited("audit", "verify", "--kept", "3:9ce3", code=1).stderr
