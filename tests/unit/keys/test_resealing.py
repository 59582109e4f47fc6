"""Epochs of data keys: new secrets under a new one, old secrets moved to it, and nobody notices."""

import asyncio

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives import hashes, hmac

from keys import bindings, data_key_rows, data_keys, kms
from keys import resealing as resealing_module
from keys.changes import Author
from keys.data_key_rows import StoredDataKey
from keys.resealing import GRACE_MS, Resealing
from storage import engine, schema
from tests.support.custody import Room

OPERATOR = Author("operator", "it is time")
MESSAGE = b"a request"


def resealing(room: Room, *, batch: int = 2) -> Resealing:
    entropy = room.custody._entropy
    return Resealing(room.engine, room.data_keys, room.changes, entropy, batch=batch)


async def list_keys(room: Room) -> list[StoredDataKey]:
    async with engine.reading(room.engine) as conn:
        return await data_key_rows.list_all(conn)


async def ciphertexts(room: Room) -> dict[str, tuple[str | None, bytes | None]]:
    async with engine.reading(room.engine) as conn:
        rows = await conn.execute(sa.select(schema.secret_versions))
        return {row.secret_id: (row.data_key_id, row.ciphertext) for row in rows}


async def states(room: Room) -> list[tuple[int, str]]:
    return [(stored.epoch, stored.state) for stored in await list_keys(room)]


async def serves(room: Room, key_id: str, secret: bytes) -> bool:
    """A node that starts now."""
    directory = room.another_node().directory()
    await directory.load()
    return opens(directory.find(key_id), secret)


def opens(served: object, secret: bytes) -> bool:
    signing = hmac.HMAC(secret, hashes.SHA256())
    signing.update(MESSAGE)
    signature = signing.finalize()
    verifiers = getattr(served, "verifiers", ())
    return any(verifier.verifies(signature, MESSAGE) for _, verifier in verifiers)


async def test_rotating_begins_an_epoch(room: Room) -> None:
    """One active data key an environment, the one before it retiring; other environments stay as they are."""
    live = await room.data_keys.get_current("live")
    first = await room.data_keys.get_current("paper")
    made = await room.data_keys.rotate("paper", author=OPERATOR)
    assert made.epoch == 2
    assert (await room.data_keys.get_current("paper")).id == made.id != first.id
    assert (await room.data_keys.get_current("live")).id == live.id
    found = {stored.id: stored for stored in await list_keys(room)}
    assert (found[first.id].state, found[first.id].retiring_at) == ("retiring", room.clock.now_ms)
    async with engine.reading(room.engine) as conn:
        query = sa.select(schema.audit_events).order_by(schema.audit_events.c.seq.desc()).limit(2)
        events = (await conn.execute(query)).all()
    assert [(each.action, each.subject, each.actor) for each in reversed(events)] == [
        ("data_key.retiring", first.id, "operator"),
        ("data_key.created", made.id, "operator"),
    ]


async def test_two_who_rotate_at_once_make_one_epoch(room: Room) -> None:
    """The other is told, and nothing of its is stored."""
    await room.data_keys.get_current("paper")
    nodes = [room.another_node() for _ in range(3)]
    outcomes = await asyncio.gather(
        *(node.data_keys.rotate("paper", author=OPERATOR) for node in nodes), return_exceptions=True
    )
    refused = [each for each in outcomes if isinstance(each, data_keys.RotatedMeanwhile)]
    made = [each for each in outcomes if isinstance(each, StoredDataKey)]
    assert len(refused) + len(made) == 3
    assert made
    assert [state for _, state in await states(room)].count("active") == 1


async def test_without_its_kms_nothing_is_rotated(room: Room) -> None:
    """The epoch that is there stays active."""
    await room.data_keys.get_current("paper")
    room.kms.down = True
    with pytest.raises(kms.KmsUnavailable):
        await room.data_keys.rotate("paper", author=OPERATOR)
    assert await states(room) == [(1, "active")]


async def test_every_secret_is_moved_and_opens(room: Room) -> None:
    """In batches, each with its event; afterwards a node that starts needs the new data key alone."""
    made = [await room.create_key() for _ in range(5)]
    live = await room.create_key(environment="live")
    ring = room.ring()
    kid = await ring.ensure(author=OPERATOR)
    before = await ciphertexts(room)
    for domain in ("paper", "live", "service"):
        await room.data_keys.rotate(domain, author=OPERATOR)
    done = await resealing(room).run(author=OPERATOR)
    assert (done.secrets, done.broken, done.destroyed) == (7, (), ())
    after = await ciphertexts(room)
    assert all(after[secret_id] != before[secret_id] for secret_id in before)
    current = {stored.id for stored in await list_keys(room) if stored.state == "active"}
    assert {data_key_id for data_key_id, _ in after.values()} == current
    for each in (*made, live):
        assert each.secret is not None
        assert await serves(room, each.key.id, each.secret.reveal().encode())
    again = room.another_node().ring()
    await again.refresh()
    assert again.get_signer().kid == kid
    async with engine.reading(room.engine) as conn:
        query = sa.select(schema.audit_events.c.details).where(
            schema.audit_events.c.action == "data_key.resealed"
        )
        counts = [details["secrets"] for details in (await conn.execute(query)).scalars()]
    assert sorted(counts) == [1, 1, 1, 2, 2]


async def test_an_empty_epoch_is_destroyed_after_its_grace(room: Room) -> None:
    """Not before what was sealed under it in the meantime must have arrived; then its wrappings are gone."""
    await room.create_key()
    await room.data_keys.rotate("paper", author=OPERATOR)
    done = await resealing(room).run(author=OPERATOR)
    assert (len(done.destroyed), len(done.waiting)) == (0, 1)
    room.clock.now_ms += GRACE_MS - 1
    assert not (await resealing(room).run(author=OPERATOR)).destroyed
    room.clock.now_ms += 1
    done = await resealing(room).run(author=OPERATOR)
    assert (len(done.destroyed), len(done.waiting)) == (1, 0)
    [old, new] = await list_keys(room)
    assert (old.state, old.wrappings, old.destroyed_at) == ("destroyed", (), room.clock.now_ms)
    assert (new.state, len(new.wrappings)) == ("active", 1)
    with pytest.raises(data_keys.UnknownDataKey):
        await room.another_node().data_keys.get(old.id)


async def test_an_epoch_in_use_is_not_destroyed(room: Room) -> None:
    """Asked again under the lock: something may have been sealed under it since it was counted."""
    await room.create_key()
    await room.data_keys.rotate("paper", author=OPERATOR)
    room.clock.now_ms += GRACE_MS
    old = (await list_keys(room))[0]
    assert not await resealing(room)._destroy(old, OPERATOR)
    assert (await states(room))[0] == (1, "retiring")


async def test_what_was_sealed_under_a_destroyed_key_is_not_stored(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who sealed, and then slept through retirement and destruction, is refused: it would never open."""
    old = await room.data_keys.get_current("paper")
    await room.data_keys.rotate("paper", author=OPERATOR)
    room.clock.now_ms += GRACE_MS
    await resealing(room).run(author=OPERATOR)

    async def remember(_: str) -> data_keys.OpenDataKey:
        return old

    monkeypatch.setattr(room.data_keys, "get_current", remember)
    with pytest.raises(data_key_rows.DataKeyDestroyed):
        await room.create_key()
    assert await ciphertexts(room) == {}


async def test_what_is_broken_is_left_and_named(room: Room) -> None:
    """The rest is moved; the broken one keeps its bytes and its data key."""
    made = [await room.create_key() for _ in range(3)]
    broken = sorted(each.key.id for each in made)[1]
    async with engine.transaction(room.engine) as conn:
        await conn.execute(
            sa.update(schema.secret_versions)
            .where(schema.secret_versions.c.secret_id == broken)
            .values(ciphertext=b"\x01" + bytes(40))
        )
    old = (await room.data_keys.get_current("paper")).id
    await room.data_keys.rotate("paper", author=OPERATOR)
    room.clock.now_ms += GRACE_MS
    done = await resealing(room, batch=1).run(author=OPERATOR)
    assert done.secrets == 2
    assert [(each.secret_id, each.version, each.data_key_id) for each in done.broken] == [(broken, 1, old)]
    assert not done.destroyed
    assert (await ciphertexts(room))[broken] == (old, b"\x01" + bytes(40))


async def test_a_kind_that_nobody_described_is_refused(room: Room) -> None:
    """Its binding is not guessed: a wrong guess would look like a broken secret."""
    made = await room.create_key()
    async with engine.transaction(room.engine) as conn:
        await conn.execute(
            sa.update(schema.secrets).where(schema.secrets.c.id == made.key.id).values(kind="session")
        )
    await room.data_keys.rotate("paper", author=OPERATOR)
    assert "session" not in bindings.BINDINGS, "take another kind"
    with pytest.raises(bindings.UnknownBinding, match="session"):
        await resealing(room).run(author=OPERATOR)


@pytest.mark.parametrize(
    "change",
    [{"state": "destroyed", "ciphertext": None, "data_key_id": None}, {"ciphertext": b"\x01 newer"}],
    ids=["destroyed", "sealed anew"],
)
async def test_whoever_changed_a_secret_meanwhile_is_right(room: Room, change: dict[str, object]) -> None:
    """A version that was changed between the look and the write is not brought back."""
    await room.create_key()
    await room.data_keys.rotate("paper", author=OPERATOR)
    work = resealing(room)
    async with engine.reading(room.engine) as conn:
        rows = await resealing_module._read(conn, "paper", ("", 0), 10)
    async with engine.transaction(room.engine) as conn:
        await conn.execute(sa.update(schema.secret_versions).values(**change))
    changed = await ciphertexts(room)
    sealing = resealing_module._Sealing(
        await room.data_keys.get_current("paper"),
        {rows[0].data_key_id: await room.data_keys.get(rows[0].data_key_id)},
    )
    assert await work._reseal_batch("paper", rows, sealing, [], OPERATOR) == 0
    assert await ciphertexts(room) == changed


async def test_a_rotation_in_the_middle_is_followed(room: Room) -> None:
    """What was about to be sealed under an epoch that just retired is sealed under the newest."""
    await room.create_key()
    await room.data_keys.rotate("paper", author=OPERATOR)
    work, store = resealing(room), room.data_keys.get_current
    rotated = False

    async def rotate_behind(domain: str) -> data_keys.OpenDataKey:
        nonlocal rotated
        current = await store(domain)  # type: ignore[arg-type]
        if not rotated:
            rotated = True
            await room.another_node().data_keys.rotate("paper", author=OPERATOR)
        return current

    room.data_keys.get_current = rotate_behind  # type: ignore[method-assign]
    assert (await work.run(author=OPERATOR)).secrets == 1
    [(data_key_id, _)] = (await ciphertexts(room)).values()
    assert data_key_id == next(stored.id for stored in await list_keys(room) if stored.epoch == 3)


async def test_nodes_serve_without_a_gap(room: Room) -> None:
    """A node whose KMS is away learns of every batch, and verifies every secret throughout."""
    made = [await room.create_key() for _ in range(6)]
    secrets = {each.key.id: each.secret.reveal().encode() for each in made if each.secret is not None}
    node = room.another_node()
    directory = node.directory()
    await directory.load()
    await room.data_keys.rotate("paper", author=OPERATOR)
    work = resealing(room, batch=1)
    for _ in range(2):
        await directory.refresh()
        assert all(opens(directory.find(key_id), secret) for key_id, secret in secrets.items())
        await work.run(author=OPERATOR)
    await directory.refresh()
    # It never had the new data key: what was open stayed open.
    assert node.data_keys.find_open((await room.data_keys.get_current("paper")).id) is None
    assert all(opens(directory.find(key_id), secret) for key_id, secret in secrets.items())
    assert not directory.incomplete


async def test_a_node_opens_a_new_epoch_before_it_meets_it(room: Room) -> None:
    """As a companion of the directory, which follows every change."""
    await room.data_keys.get_current("paper")
    node = room.another_node()
    await node.data_keys.refresh()
    made = await room.data_keys.rotate("paper", author=OPERATOR)
    assert node.data_keys.find_open(made.id) is None
    await node.data_keys.refresh()
    assert node.data_keys.find_open(made.id) is not None
    calls = room.kms.calls
    await node.data_keys.refresh()
    assert room.kms.calls == calls
