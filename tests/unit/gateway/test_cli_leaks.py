"""`portreeve leaks`: an operator reports what was found, and is not shown it again."""

from __future__ import annotations

from pathlib import Path

from tests.support.commands import HMAC, Run, read


def test_reporting_freezes_what_is_real(run: Run, place: Path) -> None:
    """Each line by its number in the file: what it was, and whose; the secret is in no output and in no ledger."""
    run("init")
    run("partners", "create", "acme")
    made = read(run("keys", "create", "--partner", "acme", *HMAC, "--json"))
    found = place / "found.txt"
    found.write_text(f"{made['secret']}\n\nnoise\n")
    told = run("leaks", "report", str(found), "--place", "https://code.example/a", "--json")
    assert read(told) == [
        {"line": 1, "outcome": "frozen", "key": made["id"], "version": 1, "partner": "acme"},
        {"line": 3, "outcome": "unknown", "key": None, "version": None, "partner": None},
    ]
    assert read(run("keys", "show", made["id"], "--json"))["status"] == "frozen"
    ledger = run("audit", "tail", "--json").stdout
    assert "leak.found" in ledger
    for output in (told.stdout, told.stderr, ledger):
        assert made["secret"] not in output
    assert made["id"] in run("leaks", "report", str(found)).stdout


def test_what_is_no_text_hides_no_secret(run: Run, place: Path) -> None:
    """A dump that a secret was found in is read to its end."""
    run("init")
    run("partners", "create", "acme")
    made = read(run("keys", "create", "--partner", "acme", *HMAC, "--json"))
    found = place / "found.bin"
    found.write_bytes(b"\xff\xfe\x00\n" + made["secret"].encode() + b"\n\xed\xa0\x80")
    verdicts = read(run("leaks", "report", str(found), "--json"))
    assert [verdict["outcome"] for verdict in verdicts] == ["unknown", "frozen", "unknown"]
