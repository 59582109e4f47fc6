"""What a directory has ready for the request path: of each key what verifies, and nothing else."""

import asyncio
import hmac
from ipaddress import ip_network

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keys import kms
from keys.changes import Author
from keys.secret import HmacKey
from storage import engine, schema
from tests.support.custody import START_MS, Room
from tests.support.following import loaded, set_state, states


async def test_a_loaded_key_is_ready_to_verify(room: Room) -> None:
    """Everything the request path needs is there, parsed: networks, roles, and the key that verifies."""
    made = await room.create_key(
        cidrs=("10.0.0.0/8",),
        permissions=("orders:read",),
        expires_at=START_MS + 5,
        roles=("trader", "viewer"),
    )
    assert made.secret is not None
    key = (await loaded(room)).find(made.key.id)
    assert key is not None
    granted = key.entitlement
    assert (key.id, key.partner, granted.tier, granted.environment) == (
        made.key.id,
        "acme",
        "standard",
        "paper",
    )
    assert (granted.roles, granted.permissions, key.expires_at) == (
        ("trader", "viewer"),
        ("orders:read",),
        START_MS + 5,
    )
    assert granted.networks == (ip_network("10.0.0.0/8"),)
    assert (key.frozen, key.revoked, key.partner_frozen) == (False, False, False)
    assert [(version.version, version.state) for version in key.versions] == [(1, "active")]
    secret = key.versions[0].secret
    assert secret is not None
    assert secret.verifies(hmac.digest(made.secret.reveal().encode(), b"m", "sha256"), b"m")


async def test_a_served_key_shows_no_secret(room: Room) -> None:
    """Printing a served key, as a log line or a traceback would, shows stars."""
    made = await room.create_key()
    assert made.secret is not None
    key = (await loaded(room)).find(made.key.id)
    assert "HmacKey(***)" in repr(key)
    assert made.secret.reveal() not in repr(key)
    assert key is not None
    assert isinstance(key.versions[0].secret, HmacKey)


async def test_an_ed25519_key_is_served_as_a_public_key(room: Room) -> None:
    """The request path gets the key object that verifies."""
    private = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    made = await room.create_key(algorithm="ed25519", public_key=private.public_key().public_bytes_raw())
    key = (await loaded(room)).find(made.key.id)
    assert key is not None
    public_key = key.versions[0].public_key
    assert public_key is not None
    public_key.verify(private.sign(b"m"), b"m")
    assert key.versions[0].secret is None


async def test_an_unknown_key_is_not_found(room: Room) -> None:
    """What is not stored is not served."""
    assert (await loaded(room)).find("prk_paper_unknown") is None


async def test_a_frozen_partner_freezes_every_key(room: Room) -> None:
    """A change of a partner reaches all its keys, and back again."""
    made = [(await room.create_key()).key.id for _ in range(3)]
    followed = await loaded(room)
    await room.custody.freeze_partner("acme", author=Author("officer"))
    await followed.refresh()
    assert [key is not None and key.partner_frozen for key in map(followed.find, made)] == [True] * 3
    await room.custody.unfreeze_partner("acme", author=Author("officer"))
    await followed.refresh()
    assert [key is not None and key.partner_frozen for key in map(followed.find, made)] == [False] * 3


async def test_a_revoked_key_still_knows_a_right_signature(room: Room) -> None:
    """A revoked key is served as revoked, with the secret by which its holder can be told."""
    made = await room.create_key()
    followed = await loaded(room)
    await room.custody.revoke_key(made.key.id, author=Author("officer"))
    for seen in (followed, await loaded(room.another_node())):
        await seen.refresh()
        key = seen.find(made.key.id)
        assert key is not None
        assert key.revoked
        assert states(seen, made.key.id) == ["revoked"]
        assert key.versions[0].secret is not None


@pytest.mark.parametrize(
    ("state", "served"),
    [("pending", []), ("active", ["active"]), ("retiring", ["retiring"]), ("revoked", [])],
)
async def test_only_versions_that_verify_are_served(room: Room, state: str, served: list[str]) -> None:
    """A pending or a revoked version of a living key verifies nothing."""
    key_id = (await room.create_key()).key.id
    followed = await loaded(room)
    await set_state(room, key_id, state)
    await followed.refresh()
    assert states(followed, key_id) == served


async def test_a_revoked_key_keeps_its_last_two_versions(room: Room) -> None:
    """However often it was rotated, a revoked key keeps as many secrets as a rotating one has."""
    key_id = (await room.create_key()).key.id
    async with engine.transaction(room.engine) as conn:
        row = (await conn.execute(sa.select(schema.secret_versions))).mappings().one()
        for version in (2, 3, 4):
            # Their ciphertexts are of version one and do not open; what counts is which are tried.
            await conn.execute(
                sa.insert(schema.secret_versions).values(
                    **dict(row) | {"version": version, "state": "revoked"}
                )
            )
    await room.custody.revoke_key(key_id, author=Author("officer"))
    followed = await loaded(room)
    assert states(followed, key_id) == []
    async with engine.transaction(room.engine) as conn:
        await conn.execute(
            sa.delete(schema.secret_versions).where(schema.secret_versions.c.version.in_((3, 4)))
        )
    assert states(await loaded(room), key_id) == ["revoked"]


async def test_the_first_load_wants_every_data_key(room: Room) -> None:
    """A node that cannot open what it should serve says so instead of starting."""
    await room.create_key()
    room.kms.down = True
    with pytest.raises(kms.KmsUnavailable):
        await room.another_node().directory().load()


async def test_a_broken_ciphertext_takes_only_its_version(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    """A tampered secret is not served, is named, and every other key is served as before."""
    broken, sound = [(await room.create_key()).key.id for _ in range(2)]
    async with engine.transaction(room.engine) as conn:
        other = (
            await conn.execute(
                sa.select(schema.secret_versions.c.ciphertext).where(
                    schema.secret_versions.c.secret_id == sound
                )
            )
        ).scalar_one()
        await conn.execute(
            sa.update(schema.secret_versions)
            .where(schema.secret_versions.c.secret_id == broken)
            .values(ciphertext=other)
        )
    followed = await loaded(room)
    assert states(followed, broken) == []
    assert states(followed, sound) == ["active"]
    assert followed.incomplete == {broken}
    assert broken in caplog.text


async def test_a_key_that_cannot_be_read_is_not_served(room: Room) -> None:
    """Rows that make no key close that key, and only that one; mended rows open it again."""
    broken, sound = [(await room.create_key()).key.id for _ in range(2)]
    followed = await loaded(room)
    for cidrs, served in ((["nonsense"], False), ([], True)):
        async with room.changes.begin(Author("test")) as change:
            await change.conn.execute(
                sa.update(schema.api_keys)
                .where(schema.api_keys.c.id == broken)
                .values(cidrs=cidrs, revision=change.revision)
            )
            await change.record("test", broken)
        await followed.refresh()
        assert (followed.find(broken) is not None) == served
        assert followed.incomplete == (frozenset() if served else {broken})
        assert followed.find(sound) is not None


async def test_long_loads_let_others_run(room: Room) -> None:
    """While many keys are built, other work on the loop gets its turns."""
    key_id = (await room.create_key()).key.id
    async with engine.transaction(room.engine) as conn:
        key = dict((await conn.execute(sa.select(schema.api_keys))).mappings().one())
        copies = [key | {"id": f"{key_id}{number:04}"} for number in range(1_000)]
        secret = dict((await conn.execute(sa.select(schema.secrets))).mappings().one())
        await conn.execute(sa.insert(schema.secrets), [secret | {"id": copy["id"]} for copy in copies])
        await conn.execute(sa.insert(schema.api_keys), copies)
    followed = room.directory()
    check = await followed._check(since=None)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await followed._replace(check)
    counting.cancel()
    assert turns >= 4
    assert len(followed) == 1_001
