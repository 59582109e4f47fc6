"""`portreeve clients`, run as a shell would."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import oauth_clients
from tests.support.commands import Run, read

CREATE = ("clients", "create", "--partner", "acme", "--environment", "paper", "--name", "Acme settlement")


def jwk_file(place: Path, number: int = 1, kid: str = "one") -> str:
    file = place / f"{kid}.json"
    jwk = oauth_clients.public_jwk(oauth_clients.private_key(number=number), kid=kid)
    file.write_text(json.dumps({"keys": [jwk]}))
    return str(file)


@pytest.fixture
def made(store: Run, place: Path) -> dict[str, Any]:
    created: dict[str, Any] = read(store(*CREATE, "--role", "trader", "--jwks", jwk_file(place), "--json"))
    return created


def test_a_client_is_what_fapi_asks_for_unless_it_says_otherwise(made: dict[str, Any]) -> None:
    """Its own keys, bound tokens, no exception, and no secret to print."""
    assert (made["authentication"], made["binding"], made["exceptions"]) == ("private_key_jwt", "dpop", [])
    assert made["grants"] == ["client_credentials"]
    assert "secret" not in made


def test_a_secret_is_printed_once_and_its_weakness_with_it(store: Run) -> None:
    """By the command that made it, and by no other."""
    weak = ("--authentication", "client_secret_basic", "--exception", "client-secret", "--role", "viewer")
    shown = store(*CREATE, *weak)
    assert "pcs_paper_" in shown.stdout
    assert "this once" in shown.stderr
    assert "Weaker than FAPI 2.0: client-secret" in shown.stderr
    created = read(store(*CREATE, *weak, "--json"))
    for command in (("list", "--json"), ("show", created["id"]), ("freeze", created["id"], "--json")):
        assert "pcs_" not in store("clients", *command).stdout
    refused = store(*CREATE, "--authentication", "client_secret_basic", "--role", "viewer", code=1)
    assert "needs the exception client-secret" in refused.stderr


def test_a_client_is_changed_frozen_and_revoked(store: Run, made: dict[str, Any]) -> None:
    """Each prints what it is now; what was not given stays."""
    client = made["id"]
    code = (
        "--grant",
        "authorization_code",
        "--grant",
        "device_code",
        "--redirect-uri",
        "https://app.acme.example/",
    )
    changed = read(store("clients", "change", client, *code, "--contact", "a@acme.example", "--json"))
    assert changed["grants"] == ["authorization_code", oauth_clients.DEVICE]
    assert (changed["roles"], changed["about"]) == (["trader"], {"contacts": ["a@acme.example"]})
    told = ("--client-uri", "https://acme.example/", "--permission", "orders:read", "--cidr", "192.0.2.0/24")
    changed = read(store("clients", "change", client, *told, "--expires", "90d", "--json"))
    assert changed["about"] == {"client_uri": "https://acme.example/", "contacts": ["a@acme.example"]}
    wide = ("--permission", "all", "--cidr", "any", "--expires", "never")
    changed = read(store("clients", "change", client, *wide, "--json"))
    assert (changed["permissions"], changed["cidrs"], changed["expires_at"]) == (None, [], None)
    assert read(store("clients", "freeze", client, "--reason", "odd", "--json"))["status"] == "frozen"
    assert read(store("clients", "show", client, "--json"))["versions"][0]["kid"] == "one"
    assert read(store("clients", "revoke", client, "--json"))["status"] == "revoked"
    assert "is revoked" in store("clients", "change", client, "--name", "Other", code=1).stderr
    assert client in store("clients", "list").stdout


def test_a_certificate_is_named(store: Run) -> None:
    """Tokens are bound to it, too, unless it is said otherwise."""
    by_name = ("--authentication", "tls_client_auth", "--certificate-dn", "CN=acme", "--role", "trader")
    created = read(store(*CREATE, *by_name, "--json"))
    assert (created["certificate"], created["binding"]) == ({"subject_dn": "CN=acme"}, "mtls")
    thumbprint = ("--certificate-thumbprint", oauth_clients.THUMBPRINT, "--binding", "dpop")
    signed = ("--authentication", "self_signed_tls_client_auth", *thumbprint, "--role", "trader")
    created = read(store(*CREATE, *signed, "--json"))
    assert created["certificate"] == {"thumbprints": [oauth_clients.THUMBPRINT]}
    assert created["binding"] == "dpop"


def test_keys_are_rotated_like_every_secret(store: Run, made: dict[str, Any], place: Path) -> None:
    """The new one comes as a file; both verify for a while."""
    rotated = read(store("secrets", "rotate", made["id"], "--jwk", jwk_file(place, 2, "two"), "--json"))
    assert [(each["version"], each["state"]) for each in rotated["versions"]] == [
        (1, "retiring"),
        (2, "active"),
    ]
    assert json.loads(rotated["versions"][1]["public_key"])["kid"] == "two"
    read(store("secrets", "retire", made["id"], "--json"))
    listed = read(store("secrets", "list", "--kind", "oauth-client", "--json"))
    assert [one["id"] for one in listed] == [made["id"]]


def test_a_file_that_holds_no_public_key_is_refused(store: Run, place: Path) -> None:
    """And nothing of it is repeated: it may be the private half."""
    private = oauth_clients.public_jwk(oauth_clients.private_key()) | {"d": "bXktcHJpdmF0ZS1udW1iZXI"}
    several = {"keys": [oauth_clients.public_jwk(oauth_clients.private_key(number=n)) for n in (1, 2)]}
    for content, complaint in (
        (json.dumps(private), "private"),
        (json.dumps(several), "holds 2 keys"),
        ("{", "not JSON"),
        (" " * 9_000, "too large"),
    ):
        (place / "bad.json").write_text(content)
        refused = store(*CREATE, "--role", "trader", "--jwks", str(place / "bad.json"), code=1)
        assert complaint in refused.stderr
        assert "bXktcHJpdmF0ZS1udW1iZXI" not in refused.stderr
    assert (
        "No such file"
        in store(*CREATE, "--role", "trader", "--jwks", str(place / "none.json"), code=1).stderr
    )
    store(*CREATE, "--jwks", jwk_file(place), code=2)


def test_every_change_stands_in_the_ledger(store: Run, made: dict[str, Any]) -> None:
    """With the account that made it."""
    store("clients", "change", made["id"], "--name", "Other")
    store("clients", "freeze", made["id"])
    events = [one for one in read(store("audit", "tail", "--json")) if one["subject"] == made["id"]]
    assert [one["action"] for one in events] == [
        "oauth_client.created",
        "oauth_client.changed",
        "oauth_client.frozen",
    ]
