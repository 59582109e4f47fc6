"""`portreeve secrets`, run as a shell would, against a store of its own."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway import clocks, composition, settings
from keys import secret_pages
from keys.api_key_secrets import proof_message
from keys.usage import Usage
from tests.support.commands import HMAC, Run, read


@pytest.fixture
def key(store: Run) -> dict[str, Any]:
    made: dict[str, Any] = read(store("keys", "create", *HMAC, "--json"))
    return made


def use(place: Path, key_id: str, version: int) -> None:
    """As a node would write it that was asked just now."""

    async def write() -> None:
        configured = settings.load(place / ".portreeve/portreeve.toml")
        async with composition.opened_engine(configured) as engine:
            noted = Usage()
            noted.note(key_id, version, "203.0.113.9", clocks.wall_ms())
            await noted.flush(engine)

    asyncio.run(write())


def states(shown: dict[str, Any]) -> list[str]:
    return [version["state"] for version in shown["versions"]]


def test_a_new_secret_is_printed_once(store: Run, key: dict[str, Any], place: Path) -> None:
    """By the rotation, and by no other command; no file holds it in the clear."""
    rotated = read(store("secrets", "rotate", key["id"], "--overlap", "3d", "--reason", "yearly", "--json"))
    assert (rotated["id"], rotated["version"], rotated["replaces"], rotated["state"]) == (
        key["id"],
        2,
        1,
        "active",
    )
    assert rotated["secret"].startswith("prs_paper_")
    assert rotated["secret"] != key["secret"]
    assert states(rotated) == ["retiring", "active"]
    assert rotated["overlap_ends"] > rotated["versions"][1]["activated_at"]
    for command in (("secrets", "list"), ("secrets", "plan"), ("keys", "show", key["id"]), ("audit", "tail")):
        for output in (store(*command).output, store(*command, "--json").output):
            assert rotated["secret"] not in output
    for file in (place / ".portreeve").iterdir():
        assert rotated["secret"].encode() not in file.read_bytes()


def test_for_people_the_secret_stands_alone_with_a_warning(store: Run, key: dict[str, Any]) -> None:
    """The warning goes to stderr, where a pipe does not carry it."""
    result = store("secrets", "rotate", key["id"])
    assert "prs_paper_" in result.stdout
    assert "store it now" in result.stderr
    assert "store it now" not in result.stdout


def test_a_used_version_is_retired_only_when_that_is_said(
    store: Run, key: dict[str, Any], place: Path
) -> None:
    """The refusal names who would break; the exit code is 1."""
    store("secrets", "rotate", key["id"])
    use(place, key["id"], 1)
    told = store("secrets", "retire", key["id"], code=1).stderr
    for word in ("version 1", "partner acme", "203.0.113.9", "once"):
        assert word in told
    done = read(store("secrets", "retire", key["id"], "--even-if-used", "--reason", "agreed", "--json"))
    assert states(done) == ["revoked", "active"]
    (event,) = [one for one in read(store("audit", "tail", "--json")) if one["action"] == "secret.retired"]
    assert (event["reason"], event["details"]["even_if_used"]) == ("agreed", True)


def test_a_rotation_is_prepared_and_activated(store: Run, key: dict[str, Any]) -> None:
    """At a moment, or by hand."""
    prepared = read(store("secrets", "rotate", key["id"], "--prepare", "--json"))
    assert states(prepared) == ["active", "pending"]
    assert prepared["secret"]
    assert states(read(store("secrets", "activate", key["id"], "--overlap", "1h", "--json"))) == [
        "retiring",
        "active",
    ]
    at = read(store("secrets", "rotate", key["id"], "--at", "30d", "--json"))
    assert (at["state"], at["activates_at"] is None) == ("pending", False)


def test_a_plan_says_what_would_happen_and_to_whom(store: Run, key: dict[str, Any]) -> None:
    """The overlap's end and the destruction, with the partner; the table names them as well."""
    store("secrets", "rotate", key["id"], "--overlap", "1d")
    planned = read(store("secrets", "plan", "--until", "60d", "--json"))
    assert [(one["step"], one["id"], one["partner"]) for one in planned if one["id"] == key["id"]] == [
        ("retire", key["id"], "acme"),
        ("destroy", key["id"], "acme"),
    ]
    assert key["id"] in store("secrets", "plan", "--until", "60d").stdout
    assert states(read(store("secrets", "list", "--kind", "api-key", "--json"))[0]) == ["retiring", "active"]


def test_what_is_due_is_done_by_hand(
    store: Run, key: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the scheduler would; a second run finds nothing."""
    store("secrets", "rotate", key["id"], "--overlap", "1d")
    assert read(store("secrets", "run", "--json")) == []
    later = clocks.wall_ms() + 2 * 86_400_000
    monkeypatch.setattr(clocks, "wall_ms", lambda: later)
    assert [(one["step"], one["outcome"]) for one in read(store("secrets", "run", "--json"))] == [
        ("retire", "done")
    ]
    assert "retire" not in store("secrets", "run").stdout


def test_revoking_and_destroying(store: Run, key: dict[str, Any]) -> None:
    """One version at once, whatever it is used for; its material; and the key whole."""
    store("secrets", "rotate", key["id"])
    store("secrets", "revoke", key["id"], "--version", "2", code=1)
    assert states(
        read(store("secrets", "revoke", key["id"], "--version", "1", "--reason", "leak", "--json"))
    ) == [
        "revoked",
        "active",
    ]
    assert states(read(store("secrets", "destroy", key["id"], "--version", "1", "--json"))) == [
        "destroyed",
        "active",
    ]
    assert states(read(store("secrets", "revoke", key["id"], "--reason", "gone", "--json"))) == [
        "destroyed",
        "revoked",
    ]
    assert read(store("keys", "show", key["id"], "--json"))["status"] == "revoked"


def test_a_public_key_is_rotated_with_its_proof(store: Run) -> None:
    """The partner's new key, and a signature by it; a wrong one is refused."""
    old, new = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    kind = ("--partner", "acme", "--environment", "paper", "--algorithm", "ed25519", "--role", "trader")
    made = read(
        store("keys", "create", *kind, "--public-key", old.public_key().public_bytes_raw().hex(), "--json")
    )
    public = new.public_key().public_bytes_raw()
    rotate = ("secrets", "rotate", made["id"], "--public-key", public.hex(), "--proof")
    store(*rotate, old.sign(proof_message(made["id"], public)).hex(), code=1)
    rotated = read(store(*rotate, new.sign(proof_message(made["id"], public)).hex(), "--json"))
    assert "secret" not in rotated
    assert states(rotated) == ["retiring", "active"]


def test_secrets_are_listed(store: Run, key: dict[str, Any]) -> None:
    """Keys and our own rings, narrowed as asked, with no material."""
    listed = read(store("secrets", "list", "--json"))
    assert {one["kind"] for one in listed} == {"api-key", "ring"}
    assert [one["id"] for one in read(store("secrets", "list", "--partner", "acme", "--json"))] == [key["id"]]
    assert read(store("secrets", "list", "--environment", "live", "--json")) == []
    assert "ciphertext" not in json.dumps(listed)
    assert key["id"] in store("secrets", "list").stdout


def test_one_secret_is_shown_and_lists_are_narrowed_by_state(store: Run, key: dict[str, Any]) -> None:
    """With all its versions; only secrets that have a version in that state."""
    store("secrets", "rotate", key["id"])
    shown = read(store("secrets", "show", key["id"], "--json"))
    assert (shown["id"], states(shown)) == (key["id"], ["retiring", "active"])
    assert "retiring" in store("secrets", "show", key["id"]).stdout
    assert [one["id"] for one in read(store("secrets", "list", "--state", "retiring", "--json"))] == [
        key["id"]
    ]
    assert read(store("secrets", "list", "--state", "destroyed", "--json")) == []


def test_a_list_of_more_than_a_page_is_whole(
    store: Run, key: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so is a plan; each secret once."""
    keys = [key["id"], *(read(store("keys", "create", *HMAC, "--json"))["id"] for _ in range(2))]
    for key_id in keys:
        store("secrets", "rotate", key_id)
    monkeypatch.setattr(secret_pages, "LONGEST_PAGE", 2)
    listed = [one["id"] for one in read(store("secrets", "list", "--kind", "api-key", "--json"))]
    assert sorted(listed) == sorted(keys)
    planned = [one for one in read(store("secrets", "plan", "--json")) if one["step"] == "retire"]
    assert sorted(one["id"] for one in planned) == sorted(keys)
    assert [one["at"] for one in planned] == sorted(one["at"] for one in planned)


def test_our_own_rings_are_left_to_their_command(store: Run) -> None:
    """Which is named; nothing is asked of a second person."""
    (ring, *_) = read(store("secrets", "list", "--kind", "ring", "--json"))
    for step in (("rotate",), ("activate",), ("retire",), ("revoke",), ("destroy", "--version", "1")):
        told = store("secrets", step[0], ring["id"], *step[1:], code=1).stderr
        assert "portreeve rings" in told


@pytest.mark.parametrize(
    "wrong", [("--overlap", "7"), ("--public-key", "xyz"), ("--proof", "0"), ("--at", "tomorrow")]
)
def test_what_was_typed_wrong_is_wrong_usage(store: Run, key: dict[str, Any], wrong: tuple[str, str]) -> None:
    """Exit code 2, and nothing has happened."""
    store("secrets", "rotate", key["id"], *wrong, code=2)
    assert len(read(store("secrets", "list", "--kind", "api-key", "--json"))[0]["versions"]) == 1


def test_what_does_not_fit_is_told_in_a_line(store: Run, key: dict[str, Any]) -> None:
    """An unknown secret, nothing to retire, an overlap too long."""
    assert "no secret" in store("secrets", "rotate", "prk_nobody", code=1).stderr
    assert "retiring" in store("secrets", "retire", key["id"], code=1).stderr
    assert "overlap" in store("secrets", "rotate", key["id"], "--overlap", "31d", code=1).stderr


def test_a_refusal_names_what_to_type_instead(store: Run, key: dict[str, Any], place: Path) -> None:
    """The option that ends a version all the same, the longest overlap as it is given, the command for data keys."""
    store("secrets", "rotate", key["id"])
    use(place, key["id"], 1)
    assert "--even-if-used" in store("secrets", "retire", key["id"], code=1).stderr
    assert "0s to 30d" in store("secrets", "rotate", key["id"], "--overlap", "300d", code=1).stderr
    assert "portreeve kms" in store("secrets", "show", "dk_paper", code=1).stderr
