"""Served OAuth clients: what nodes know of them, and how soon."""

import asyncio

import pytest
import sqlalchemy as sa

from keys import kms
from keys import oauth_client_secrets as secrets
from keys.changes import Author
from keys.client_directory import ServedClients
from keys.client_records import ClientChange
from keys.directory import Applied, Directory
from keys.kinds import Offer
from keys.served_clients import ServedClient
from storage import engine, schema
from tests.support import oauth_clients
from tests.support.custody import Eventually, Room
from tests.support.following import running, states

BY = Author("operator")


class Broken:
    """A companion that fails for as long as it is told to."""

    is_broken = True

    async def refresh(self) -> None:
        if self.is_broken:
            raise engine.StorageUnavailable("it is broken")


async def follow(room: Room) -> ServedClients:
    served = ServedClients(room.engine, room.data_keys)
    await served.refresh()
    return served


def find(served: ServedClients, client_id: str) -> ServedClient:
    found = served.find(client_id)
    assert found is not None
    return found


async def test_a_client_is_served_with_its_key_and_its_partner(room: Room) -> None:
    """All that the token endpoint has to know is there without a question to the store."""
    made = await oauth_clients.made(room.oauth_clients)
    served = await follow(room)
    client = find(served, made.id)
    assert (client.partner, client.tier, client.environment) == ("acme", "standard", "paper")
    assert [(number, jwk["kid"], jwk["alg"]) for number, jwk in client.keys] == [(1, "one", "ES256")]
    assert client.refused_from > room.clock()
    partner = served.find_partner("acme")
    assert partner is not None
    assert not partner.frozen


async def test_a_secret_is_served_as_its_digest(room: Room) -> None:
    """Nodes compare what comes, and hold nothing that could be presented."""
    made = await oauth_clients.made_with_secret(room.oauth_clients)
    assert made.secret is not None
    client = find(await follow(room), made.id)
    assert [(number, digest.reveal()) for number, digest in client.secrets] == [
        (1, secrets.digest(made.secret))
    ]


async def test_a_change_is_followed_by_what_changed_alone(room: Room) -> None:
    """Other clients stay the very same values; the changed one is another."""
    one = await oauth_clients.made(room.oauth_clients)
    other = await oauth_clients.made(room.oauth_clients, number=2)
    served = await follow(room)
    before, untouched = find(served, one.id), find(served, other.id)
    await room.oauth_clients.change(one.client, ClientChange(name="Renamed"), author=BY)
    await served.refresh()
    assert find(served, one.id).name == "Renamed"
    assert find(served, one.id) is not before
    assert find(served, other.id) is untouched


async def test_a_secret_that_does_not_open_yet_is_added_when_it_does(room: Room) -> None:
    """Until then its client is there without it, and named."""
    made = await oauth_clients.made_with_secret(room.oauth_clients)
    node = room.another_node()
    served = ServedClients(node.engine, node.data_keys)
    room.kms.down = True
    await served.refresh()
    with pytest.raises(kms.KmsUnavailable):
        await served.openings.refresh()
    assert find(served, made.id).secrets == ()
    assert served.incomplete == {made.id}
    room.kms.down = False
    await served.openings.refresh()
    assert len(find(served, made.id).secrets) == 1
    assert served.incomplete == frozenset()


@pytest.mark.parametrize("ending", ["revoke", "freeze"])
async def test_an_end_is_served_while_the_kms_hangs(room: Room, eventually: Eventually, ending: str) -> None:
    """One secret that waits for its data key keeps nobody from being refused, its own client neither."""
    node = room.another_node()
    served = ServedClients(node.engine, node.data_keys)
    followed = Directory(
        node.engine,
        node.data_keys,
        node.wakeup,
        node.clock,
        poll_ms=5,
        prompt=(served, Broken()),
        companions=(served.openings,),
    )
    made = await oauth_clients.made_with_secret(room.oauth_clients)
    room.kms.held.clear()
    async with running(followed):
        await eventually(lambda: served.find(made.id) is not None)
        assert find(served, made.id).refused_from > room.clock()
        await getattr(room.oauth_clients, ending)(made.id, author=BY)
        await eventually(lambda: find(served, made.id).refused_from < room.clock())
        assert find(served, made.id).secrets == ()


async def test_who_cannot_follow_promptly_is_asked_again(room: Room, eventually: Eventually) -> None:
    """Without another change, and the node calls itself whole only then."""
    told: list[Applied] = []
    follower = Broken()
    followed = Directory(
        room.engine,
        room.data_keys,
        room.wakeup,
        room.clock,
        poll_ms=5,
        prompt=(follower,),
        notice=told.append,
    )
    follower.is_broken = False
    await followed.load()
    follower.is_broken = True
    async with running(followed):
        await oauth_clients.made(room.oauth_clients)
        await eventually(lambda: bool(told) and told[-1].incomplete == 1)
        follower.is_broken = False
        await eventually(lambda: told[-1].incomplete == 0)


async def test_a_frozen_partner_takes_its_clients_along(room: Room) -> None:
    """What is done to a partner is served of each of its clients."""
    made = await oauth_clients.made(room.oauth_clients)
    served = await follow(room)
    await room.custody.freeze_partner("acme", author=BY)
    await served.refresh()
    assert find(served, made.id).partner_frozen
    partner = served.find_partner("acme")
    assert partner is not None
    assert partner.frozen


async def test_two_keys_verify_while_one_is_retired(room: Room) -> None:
    """A rotation overlaps; what is retired is served no more."""
    made = await oauth_clients.made(room.oauth_clients)
    served = await follow(room)
    second = oauth_clients.encoded_jwk(oauth_clients.private_key("EdDSA"), kid="two")
    await room.rotations.rotate(made.id, offer=Offer(public_key=second), author=BY)
    await served.refresh()
    assert [number for number, _ in find(served, made.id).keys] == [1, 2]
    await room.rotations.retire(made.id, author=BY)
    await served.refresh()
    assert [number for number, _ in find(served, made.id).keys] == [2]


async def test_a_restored_store_is_read_anew(room: Room) -> None:
    """What a node learned after the backup is forgotten, although the revision is higher again."""
    kept = await oauth_clients.made(room.oauth_clients)
    lost = await oauth_clients.made(room.oauth_clients, number=2)
    served = await follow(room)
    async with room.engine.begin() as conn:
        for table, column in (
            (schema.oauth_clients, "id"),
            (schema.secret_versions, "secret_id"),
            (schema.secrets, "id"),
        ):
            await conn.execute(sa.delete(table).where(table.c[column] == lost.id))
        head = (
            schema.audit_events.c.seq == sa.select(sa.func.max(schema.audit_events.c.seq)).scalar_subquery()
        )
        await conn.execute(sa.update(schema.audit_events).where(head).values(hash="0" * 64))
    await room.oauth_clients.change(kept.client, ClientChange(name="Renamed"), author=BY)
    await served.refresh()
    assert served.find(lost.id) is None
    assert find(served, kept.id).name == "Renamed"


async def test_a_row_that_cannot_be_read_is_not_served(room: Room) -> None:
    """Rather nobody than somebody whose limits are unknown, nor as it was before; the others are served."""
    broken = await oauth_clients.made(room.oauth_clients)
    whole = await oauth_clients.made(room.oauth_clients, number=2)
    followed = await follow(room)
    assert followed.find(broken.id) is not None
    async with room.engine.begin() as conn:
        await conn.execute(
            sa.update(schema.oauth_clients)
            .where(schema.oauth_clients.c.id == broken.id)
            .values(cidrs=["nonsense"])
        )
    served = await follow(room)
    assert served.find(broken.id) is None
    assert served.incomplete == {broken.id}
    assert served.find(whole.id) is not None
    await room.custody.freeze_partner("acme", author=BY)
    await followed.refresh()
    assert followed.find(broken.id) is None


async def test_who_cannot_follow_promptly_ages(room: Room) -> None:
    """The keys are as young as ever; what is known of clients is as old as what was read of them last."""
    follower = Broken()
    follower.is_broken = False
    followed = Directory(room.engine, room.data_keys, room.wakeup, room.clock, prompt=(follower,))
    assert followed.follower_age_ms(room.clock()) == room.clock()
    await followed.load()
    follower.is_broken = True
    await room.create_key()
    for _ in range(2):
        room.clock.now_ms += 20_000
        await followed.refresh()
    assert (followed.age_ms(room.clock()), followed.follower_age_ms(room.clock())) == (0, 40_000)
    follower.is_broken = False
    await followed.refresh()
    assert followed.follower_age_ms(room.clock()) == 0
    room.clock.now_ms += 20_000
    await followed.refresh()
    assert followed.follower_age_ms(room.clock()) == 0


async def test_who_hangs_promptly_holds_up_nobody_else(room: Room, eventually: Eventually) -> None:
    """A table that is locked keeps no key from being revoked, and no other table from being read."""
    free, served = asyncio.Event(), ServedClients(room.engine, room.data_keys)
    key, made = (await room.create_key()).key, await oauth_clients.made(room.oauth_clients)

    class Hanging:
        begun = 0

        async def refresh(self) -> None:
            self.begun += 1
            await free.wait()

    told: list[Applied] = []
    follower = Hanging()
    followed = Directory(
        room.engine,
        room.data_keys,
        room.wakeup,
        room.clock,
        poll_ms=5,
        prompt=(follower, served),
        notice=told.append,
    )
    async with running(followed):
        await eventually(lambda: follower.begun == 1)
        await room.custody.revoke_key(key.id, author=BY)
        await room.oauth_clients.revoke(made.id, author=BY)
        await eventually(lambda: states(followed, key.id) == ["revoked"])
        await eventually(lambda: find(served, made.id).revoked)
        assert (follower.begun, told[-1].incomplete) == (1, 1)
        room.clock.now_ms += 20_000
        assert followed.follower_age_ms(room.clock()) >= 20_000
        free.set()
        await eventually(lambda: told[-1].incomplete == 0)
        assert follower.begun > 1
        await eventually(lambda: followed.follower_age_ms(room.clock()) == 0)
