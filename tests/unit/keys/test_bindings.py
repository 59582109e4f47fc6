"""Every kind of secret that is sealed can be sealed anew: what it binds is found from its row."""

import os

import pytest
import sqlalchemy as sa

from keys import rotations, upstream_credentials
from keys.changes import Author
from keys.resealing import Resealing
from keys.ring import Ring
from keys.ring_rotation import RingRotation, RingTimes
from keys.secret import Secret
from keys.upstream_credentials import UpstreamCredentials
from keys.webhooks import Webhooks
from storage import engine, schema
from tests.support.custody import Room

OPERATOR = Author("operator")


def access_ring(room: Room) -> Ring:
    """A ring of the other algorithm."""
    return Ring(
        room.engine, room.data_keys, room.changes, room.clock, os.urandom, name="access", algorithm="ES256"
    )


async def test_every_kind_moves_to_a_new_data_key_and_opens_there(room: Room) -> None:
    """API keys, rings of both algorithms, one of them rotated, upstream credentials and webhooks."""
    await room.create_key()
    ring = room.ring()
    await ring.ensure(author=OPERATOR)
    rotation = RingRotation(ring, room.changes, RingTimes(lifetime_ms=1, spread_ms=1))
    await rotation.announce(author=OPERATOR)
    await rotation.activate(now=True, author=OPERATOR)
    await access_ring(room).ensure(author=OPERATOR)
    webhooks = Webhooks(room.engine, room.data_keys, room.changes, room.clock, os.urandom, examine=str)
    made = await webhooks.create("acme", "https://hooks.example/a", ("key.revoked",), author=OPERATOR)
    credentials = UpstreamCredentials(room.engine, room.data_keys, room.changes, os.urandom, spread_ms=1)
    asked = upstream_credentials.CredentialRequest(
        upstream="broker", environment="paper", form="header", source="local", details={"header": "x-api-key"}
    )
    await credentials.create(asked, Secret('{"value":"s"}'), author=OPERATOR)
    for domain in ("paper", "service"):
        await room.data_keys.rotate(domain, author=OPERATOR)
    done = await Resealing(room.engine, room.data_keys, room.changes, os.urandom).run(author=OPERATOR)
    assert done.broken == ()
    async with engine.reading(room.engine) as conn:
        sealed = await conn.execute(
            sa.select(schema.data_keys.c.state)
            .join(schema.secret_versions, schema.secret_versions.c.data_key_id == schema.data_keys.c.id)
            .distinct()
        )
        assert sealed.scalars().all() == ["active"]
    other = room.another_node()
    again = other.ring()
    await again.refresh()
    assert len(again.jwks()) == 2
    access = access_ring(other)
    await access.refresh()
    assert [jwk["alg"] for jwk in access.jwks()] == ["ES256"]
    assert await webhooks.open_signing_keys(made.webhook.id)


async def test_what_has_steps_of_its_own_is_not_ended_as_if_it_were_a_partners(room: Room) -> None:
    """A ring's key stays published until all it signed has expired: no other way leads around that."""
    ring = room.ring()
    await ring.ensure(author=OPERATOR)
    rotation = RingRotation(ring, room.changes, RingTimes(lifetime_ms=1, spread_ms=1))
    await rotation.announce(author=OPERATOR)
    await rotation.activate(now=True, author=OPERATOR)
    with pytest.raises(rotations.NotRotatedHere):
        await room.rotations.retire("ring_identity", even_if_used=True, author=OPERATOR)
    with pytest.raises(rotations.NotRotatedHere):
        await room.rotations.revoke("ring_identity", 1, author=OPERATOR)
    with pytest.raises(rotations.NotRotatedHere):
        await room.rotations.destroy("ring_identity", 1, author=OPERATOR)
