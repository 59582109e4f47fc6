"""The demo's keys: made once, found again, replaced when they no longer work."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from secrets import token_bytes
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from gateway import composition, initialise, settings
from gateway.demo import example, oauth_clients, private_file, seed
from gateway.demo.contents import Contents
from gateway.store import Store
from keys.changes import Author
from tests.support.jose_by_hand import decode

NOW_MS = 1_763_596_800_123


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    configured = settings.load(example.render(tmp_path, example.Ports(8080, 1, 2)))
    await initialise.initialise(configured, lambda: NOW_MS, token_bytes, author=Author("test"))
    async with composition.opened_store(configured, lambda: NOW_MS) as opened:
        yield opened


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "demo.json"


def read(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(file.read_text("utf-8"))
    assert file.stat().st_mode & 0o777 == 0o600
    return document


def overwrite(file: Path, content: bytes) -> None:
    file.write_bytes(content)


async def sow(store: Store, file: Path) -> Contents:
    return await seed.seed(store.custody, store.oauth_clients, file, "http://127.0.0.1:8080", token_bytes)


async def test_the_file_has_the_promised_shape(store: Store, file: Path) -> None:
    """Scripts find acme's keys and the operators', in this order, with what each needs to sign."""
    await sow(store, file)
    document = read(file)
    keys: list[dict[str, Any]] = document["keys"]
    assert document["base_url"] == "http://127.0.0.1:8080"
    assert [
        (key["algorithm"], key["environment"], key["roles"]) for key in keys if key["partner"] == "acme"
    ] == [
        ("hmac-sha256", "paper", ["trader"]),
        ("ed25519", "paper", ["trader"]),
        ("hmac-sha256", "paper", ["viewer"]),
        ("hmac-sha256", "live", ["trader"]),
        ("hmac-sha256", "paper", ["partner-admin"]),
    ]
    assert [(key["environment"], key["roles"]) for key in keys if key["partner"] == "operations"] == [
        ("paper", ["security-officer"]),
        ("live", ["security-officer"]),
    ]
    for key in keys:
        assert key["id"].startswith(f"prk_{key['environment']}_")
        if key["algorithm"] == "ed25519":
            assert len(bytes.fromhex(key["private_key_hex"])) == 32
            assert "secret" not in key
        else:
            assert key["secret"].startswith(f"prs_{key['environment']}_")
            assert "private_key_hex" not in key


async def test_the_ed25519_key_is_the_stored_one(store: Store, file: Path) -> None:
    """The private half in the file belongs to the public half in the store."""
    key = (await sow(store, file)).keys[1]
    stored = (await store.custody.get_key(key.id)).versions[0].public_key
    assert key.private_key_hex is not None
    private = ed25519.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key.private_key_hex))
    assert private.public_key().public_bytes_raw() == stored


async def test_a_second_run_makes_nothing(store: Store, file: Path) -> None:
    """The same keys, the same secrets, the same partners."""
    first = await sow(store, file)
    assert await sow(store, file) == first
    assert len((await store.custody.list_keys()).keys) == len(seed.WANTED)
    assert [partner.id for partner in await store.custody.list_partners()] == [
        "acme",
        "borealis",
        "operations",
    ]


async def test_a_revoked_key_gets_a_successor_and_a_frozen_one_stays(store: Store, file: Path) -> None:
    """The demo works again after a revocation; freezing is somebody's experiment."""
    before = (await sow(store, file)).keys
    await store.custody.revoke_key(before[0].id, author=Author("test"))
    await store.custody.freeze_key(before[1].id, author=Author("test"))
    after = (await sow(store, file)).keys
    assert after[0].id != before[0].id
    assert after[1:] == before[1:]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff"])
async def test_a_lost_file_means_new_keys(store: Store, file: Path, content: bytes) -> None:
    """Secrets can't be had again, so their keys can't be used again."""
    before = {key.id for key in (await sow(store, file)).keys}
    overwrite(file, content)
    assert before.isdisjoint(key.id for key in (await sow(store, file)).keys)


async def test_keys_of_another_store_are_not_believed(store: Store, file: Path) -> None:
    """A file that outlived its database offers nothing."""
    made = await sow(store, file)
    document = read(file)
    document["keys"][0]["id"] = "prk_paper_000000000000000000000000000"
    overwrite(file, json.dumps(document).encode())
    assert (await sow(store, file)).keys[0].id not in {document["keys"][0]["id"], made.keys[0].id}


async def test_the_file_has_two_oauth_clients(store: Store, file: Path) -> None:
    """One by key with both scopes, one by secret that may only read: both of acme, for paper."""
    await sow(store, file)
    by_key, by_secret = read(file)["oauth_clients"]
    assert (by_key["auth"], by_key["scope"]) == ("private_key_jwt", "orders:read orders:write")
    assert (by_secret["auth"], by_secret["scope"]) == ("client_secret_basic", "orders:read")
    assert {client["partner"] for client in (by_key, by_secret)} == {"acme"}
    assert {client["environment"] for client in (by_key, by_secret)} == {"paper"}
    assert by_secret["client_secret"].startswith("pcs_paper_")
    stored = (await store.oauth_clients.get(by_key["client_id"])).versions[0].public_key
    assert stored is not None
    assert {name: by_key["private_jwk"][name] for name in json.loads(stored)} == json.loads(stored)
    private = ec.derive_private_key(int.from_bytes(decode(by_key["private_jwk"]["d"])), ec.SECP256R1())
    assert private.public_key().public_numbers().x == int.from_bytes(decode(by_key["private_jwk"]["x"]))


async def test_clients_are_used_again_until_they_are_revoked(store: Store, file: Path) -> None:
    """As keys are; a revoked one gets a successor."""
    before = (await sow(store, file)).oauth_clients
    assert (await sow(store, file)).oauth_clients == before
    await store.oauth_clients.revoke(before[0].client_id, author=Author("test"))
    after = (await sow(store, file)).oauth_clients
    assert after[0].client_id != before[0].client_id
    assert after[1:] == before[1:]
    assert len(after) == len(oauth_clients.WANTED)


def test_a_private_file_is_whole_or_untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails leaves the old content and nothing beside it."""
    target = tmp_path / "demo.json"
    private_file.write(target, b"old")

    def fail(_: int) -> None:
        raise OSError("full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="full"):
        private_file.write(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_private_file_replaces_one_that_others_could_read(tmp_path: Path) -> None:
    """The mode is the new file's, never the old one's."""
    target = tmp_path / "demo.json"
    target.write_bytes(b"old")
    target.chmod(0o644)
    private_file.write(target, b"new")
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"new", 0o600)
