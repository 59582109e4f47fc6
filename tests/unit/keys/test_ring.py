import asyncio
import base64
import json

import jwt
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keys import envelope, kms, ring
from keys.changes import Author
from storage import engine, schema
from tests.support.custody import START_MS, Room


async def stored(room: Room) -> list[dict[str, object]]:
    async with engine.reading(room.engine) as conn:
        return [dict(row) for row in (await conn.execute(sa.select(schema.secret_versions))).mappings()]


async def change_row(room: Room, **values: object) -> None:
    async with engine.transaction(room.engine) as conn:
        await conn.execute(sa.update(schema.secret_versions).values(**values))


async def test_the_first_key_is_made_once(empty_room: Room) -> None:
    """Opening a ring makes its current key, with an audit event; opening it again changes nothing."""
    opened = empty_room.ring()
    kid = await opened.ensure(author=Author("init"))
    announced = list(empty_room.wakeup.announced)
    assert await empty_room.ring().ensure(author=Author("init")) == kid
    rows = await stored(empty_room)
    assert [(row["public_id"], row["secret_id"], row["state"]) for row in rows] == [
        (kid, "ring_identity", "active")
    ]
    assert empty_room.wakeup.announced == announced
    async with engine.reading(empty_room.engine) as conn:
        actions = (await conn.execute(sa.select(schema.audit_events.c.action))).scalars().all()
    assert list(actions) == ["data_key.created", "ring_key.created"]


async def test_nodes_that_race_open_one_ring(empty_room: Room) -> None:
    """Nodes that start together agree on one signing key."""
    nodes = [empty_room.another_node().ring() for _ in range(3)]
    kids = await asyncio.gather(*(node.ensure(author=Author("init")) for node in nodes))
    assert len(set(kids)) == 1
    assert len(await stored(empty_room)) == 1


async def test_what_it_signs_its_key_set_verifies(empty_room: Room) -> None:
    """A statement signed by the current key verifies under the published key of the same id, on any node."""
    opened = empty_room.ring()
    await opened.ensure(author=Author("init"))
    signer = opened.get_signer()
    statement = jwt.encode(
        {"sub": "acme"}, signer.private_key, algorithm="EdDSA", headers={"kid": signer.kid}
    )
    other = empty_room.another_node().ring()
    await other.refresh()
    published = {key["kid"]: jwt.PyJWK(key) for key in other.jwks()}
    assert jwt.decode(statement, published[signer.kid], algorithms=["EdDSA"]) == {"sub": "acme"}


async def test_the_key_set_is_public(empty_room: Room) -> None:
    """Published keys have exactly the public members, and say what they are for."""
    opened = empty_room.ring()
    await opened.ensure(author=Author("init"))
    (key,) = opened.jwks()
    assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}
    assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("OKP", "Ed25519", "sig", "EdDSA")


async def test_the_id_is_the_thumbprint(empty_room: Room) -> None:
    """RFC 8037's example key has RFC 8037's thumbprint."""
    seed = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    opened = empty_room.ring(lambda size: seed if size == 32 else bytes(size))
    assert await opened.ensure(author=Author("init")) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


async def test_the_private_half_is_stored_only_sealed(empty_room: Room) -> None:
    """The row holds the public half and a ciphertext with its marker."""
    opened = empty_room.ring()
    await opened.ensure(author=Author("init"))
    (row,) = await stored(empty_room)
    private_key = opened.get_signer().private_key
    assert isinstance(private_key, Ed25519PrivateKey)
    seed = private_key.private_bytes_raw()
    ciphertext = row["ciphertext"]
    assert isinstance(ciphertext, bytes)
    assert ciphertext[:1] == b"\x01"
    assert seed not in ciphertext
    assert seed.hex() not in repr(opened.get_signer()) + json.dumps(opened.jwks())


async def test_a_planted_public_key_is_not_published(empty_room: Room) -> None:
    """Whoever can write to the store but not seal cannot make upstreams trust a key of theirs."""
    opened = empty_room.ring()
    await opened.ensure(author=Author("init"))
    before = opened.jwks()
    theirs = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    await change_row(empty_room, public_key=theirs, ciphertext=None, data_key_id=None)
    with pytest.raises(ring.RingUnusable):
        await opened.refresh()
    assert opened.jwks() == before


async def test_a_key_moved_to_another_ring_does_not_open(empty_room: Room) -> None:
    """A signing key is sealed for its ring."""
    await empty_room.ring().ensure(author=Author("init"))
    async with engine.transaction(empty_room.engine) as conn:
        row = (await conn.execute(sa.select(schema.secrets))).mappings().one()
        await conn.execute(sa.insert(schema.secrets).values(**dict(row) | {"id": "ring_access"}))
        await conn.execute(sa.update(schema.secret_versions).values(secret_id="ring_access"))
    moved = ring.Ring(
        empty_room.engine, empty_room.data_keys, empty_room.changes, empty_room.clock, bytes, name="access"
    )
    with pytest.raises(envelope.EnvelopeRefused):
        await moved.refresh()


async def test_a_key_under_another_id_is_refused(empty_room: Room) -> None:
    """A seed sealed for an id that is not its thumbprint is no key of the ring."""
    await empty_room.ring().ensure(author=Author("init"))
    data_key = await empty_room.data_keys.get_current("service")
    sealed = envelope.seal(
        data_key.key,
        b"s" * 32,
        kind="ring-key/identity",
        record_id="chosen",
        version=1,
        environment="service",
        nonce=bytes(12),
    )
    await change_row(empty_room, public_id="chosen", ciphertext=sealed)
    with pytest.raises(ring.RingUnusable, match="another one"):
        await empty_room.ring().refresh()


async def test_an_empty_ring_does_not_sign(empty_room: Room) -> None:
    """Without a current key there is no signer, and the error says what to do."""
    opened = empty_room.ring()
    await opened.refresh()
    with pytest.raises(ring.RingUnusable, match="portreeve init"):
        opened.get_signer()
    assert opened.jwks() == []


async def test_retired_keys_are_published_until_their_time(empty_room: Room) -> None:
    """A retired key verifies what is still under way, and then disappears; it never signs."""
    opened = empty_room.ring()
    await opened.ensure(author=Author("init"))
    await change_row(empty_room, state="retiring", retires_at=START_MS + 10)
    await opened.refresh()
    assert len(opened.jwks()) == 1
    empty_room.clock.now_ms += 10
    assert opened.jwks() == []
    with pytest.raises(ring.RingUnusable):
        opened.get_signer()


async def test_a_failed_refresh_keeps_the_last_state(empty_room: Room) -> None:
    """A ring goes on signing with what it has when its keys cannot be opened again."""
    opened = empty_room.ring()
    kid = await opened.ensure(author=Author("init"))
    await change_row(empty_room, ciphertext=b"\x01broken")
    with pytest.raises(envelope.EnvelopeRefused):
        await opened.refresh()
    assert opened.get_signer().kid == kid


async def test_a_new_node_needs_the_kms(empty_room: Room) -> None:
    """A node that never opened the ring cannot, while the KMS is away."""
    await empty_room.ring().ensure(author=Author("init"))
    empty_room.kms.down = True
    with pytest.raises(kms.KmsUnavailable):
        await empty_room.another_node().ring().refresh()
