"""OAuth clients in custody: made, changed, suspended, ended, and their keys and secrets rotated."""

import msgspec
import pytest
import sqlalchemy as sa

from keys import (
    changing,
    client_requests,
    oauth_client_rows,
    oauth_client_secrets,
    partners,
    public_jwks,
    requests,
    rotation,
)
from keys.changes import Author
from keys.client_records import Certificate, ClientChange
from keys.kinds import Offer
from keys.rotations import Wish
from storage import engine, schema
from tests.support import oauth_clients
from tests.support.custody import Room

BY = Author("operator", "a test")


def offer(number: int, kid: str | None = None) -> Offer:
    return Offer(public_key=oauth_clients.encoded_jwk(oauth_clients.private_key(number=number), kid=kid))


async def events(room: Room, client_id: str) -> list[sa.RowMapping]:
    query = sa.select(schema.audit_events).where(schema.audit_events.c.subject == client_id)
    async with engine.reading(room.engine) as conn:
        return list((await conn.execute(query.order_by(schema.audit_events.c.seq))).mappings())


async def test_a_client_is_read_back_as_it_was_made(room: Room) -> None:
    """All that was asked, and the ledger tells it, without a key or a secret."""
    made = await oauth_clients.made_for_people(room.oauth_clients, cidrs=("192.0.2.0/24",))
    found = await room.oauth_clients.get(made.id)
    assert found == made.client
    assert found.redirect_uris == ("https://app.acme.example/done",)
    (event,) = await events(room, made.id)
    assert (event["action"], event["partner"], event["environment"]) == (
        "oauth_client.created",
        "acme",
        "paper",
    )
    assert event["details"]["redirect_uris"] == ["https://app.acme.example/done"]
    assert "public_key" not in event["details"]


async def test_of_a_secret_only_a_sealed_digest_is_stored(room: Room) -> None:
    """Whoever reads the store has nothing to present, and whoever opens it has no more than a digest."""
    made = await oauth_clients.made_with_secret(room.oauth_clients)
    assert made.secret is not None
    digest = oauth_client_secrets.digest(made.secret)
    query = sa.select(schema.secret_versions).where(schema.secret_versions.c.secret_id == made.id)
    async with engine.reading(room.engine) as conn:
        (row,) = (await conn.execute(query)).mappings()
    assert made.secret.reveal().encode() not in row["ciphertext"]
    assert digest not in row["ciphertext"]
    opened = oauth_client_secrets.open_digest(
        await room.data_keys.get(row["data_key_id"]),
        row["ciphertext"],
        client_id=made.id,
        version=1,
        environment="paper",
    )
    assert opened.reveal() == digest


async def test_a_client_belongs_to_a_partner_that_is_there(room: Room) -> None:
    """Nothing of it is stored otherwise."""
    with pytest.raises(partners.UnknownPartner):
        await oauth_clients.made(room.oauth_clients, partner="nobody")
    assert (await room.oauth_clients.find_page()).clients == ()


async def test_a_change_rests_on_what_was_seen(room: Room) -> None:
    """Whoever decided on another state is told to look again."""
    made = await oauth_clients.made(room.oauth_clients)
    changed = await room.oauth_clients.change(made.client, ClientChange(cidrs=("192.0.2.0/24",)), author=BY)
    assert changed.cidrs == ("192.0.2.0/24",)
    with pytest.raises(oauth_client_rows.ClientMoved):
        await room.oauth_clients.change(made.client, ClientChange(name="Other"), author=BY)
    with pytest.raises(changing.NothingToChange):
        await room.oauth_clients.change(changed, ClientChange(cidrs=("192.0.2.0/24",)), author=BY)
    event = (await events(room, made.id))[-1]
    assert event["action"] == "oauth_client.changed"
    assert event["details"] == {"before": {"cidrs": []}, "after": {"cidrs": ["192.0.2.0/24"]}}


async def test_a_client_stays_what_a_client_can_be(room: Room) -> None:
    """A change is checked as a whole: what it leaves has to fit together."""
    made = await oauth_clients.made(room.oauth_clients)
    for asked, refusal in (
        (ClientChange(binding=None), client_requests.InvalidExceptions),
        (ClientChange(grants=("authorization_code",)), client_requests.InvalidRedirectUri),
        (ClientChange(keys_url="https://acme.example/jwks.json"), client_requests.InvalidKeysUrl),
        (ClientChange(certificate=Certificate(san_dns="a.example")), client_requests.InvalidCertificate),
        (ClientChange(expires_at=room.clock()), requests.InvalidExpiry),
    ):
        with pytest.raises(refusal):
            await room.oauth_clients.change(made.client, asked, author=BY)
    weaker = ClientChange(binding=None, exceptions=("bearer-tokens",))
    assert (await room.oauth_clients.change(made.client, weaker, author=BY)).binding is None


def widened(room: Room, made: oauth_clients.MadeClient, asked: ClientChange) -> tuple[str, ...]:
    return changing.find_client_widenings(made.client, room.oauth_clients.check_change(made.client, asked))


async def test_what_lets_in_somebody_else_is_a_widening(room: Room) -> None:
    """Another place for codes, other keys, a weaker proof, another grant; a narrower list is none."""
    made = await oauth_clients.made_for_people(room.oauth_clients, cidrs=("192.0.2.0/24",))
    elsewhere = await oauth_clients.made(room.oauth_clients, keys_url="https://acme.example/jwks.json")
    named = await oauth_clients.made_by_name(room.oauth_clients)
    another = ("https://app.acme.example/done", "https://other.acme.example/done")
    assert widened(room, made, ClientChange(redirect_uris=another)) == ("redirect_uris",)
    assert widened(room, made, ClientChange(grants=("authorization_code", oauth_clients.DEVICE))) == (
        "grants",
    )
    assert widened(room, made, ClientChange(cidrs=())) == ("cidrs",)
    assert widened(room, made, ClientChange(roles=("viewer",))) == ("roles",)
    assert widened(room, made, ClientChange(binding=None, exceptions=("bearer-tokens",))) == (
        "exceptions",
        "binding",
    )
    assert widened(room, elsewhere, ClientChange(keys_url="https://other.example/")) == ("keys_url",)
    assert widened(room, named, ClientChange(certificate=Certificate(san_dns="a.example"))) == (
        "certificate",
    )
    assert widened(room, made, ClientChange(name="Other", grants=("authorization_code",))) == ()
    assert widened(room, made, ClientChange(cidrs=("192.0.2.0/25",), permissions=())) == ()


async def test_a_client_is_frozen_and_let_go_on(room: Room) -> None:
    """Each once."""
    made = await oauth_clients.made(room.oauth_clients)
    frozen = await room.oauth_clients.freeze(made.id, author=BY)
    assert (frozen.frozen_at, frozen.frozen_reason) == (room.clock(), "a test")
    with pytest.raises(oauth_client_rows.ClientAlreadyFrozen):
        await room.oauth_clients.freeze(made.id, author=BY)
    assert (await room.oauth_clients.unfreeze(made.id, author=BY)).frozen_at is None
    with pytest.raises(oauth_client_rows.ClientNotFrozen):
        await room.oauth_clients.unfreeze(made.id, author=BY)


@pytest.mark.parametrize("authentication", ["key", "certificate"])
async def test_a_revoked_client_is_revoked_for_good(room: Room, authentication: str) -> None:
    """Be there versions to revoke with it or not."""
    if authentication == "key":
        made = await oauth_clients.made(room.oauth_clients)
    else:
        made = await oauth_clients.made_by_certificate(room.oauth_clients)
    revoked = await room.oauth_clients.revoke(made.id, author=BY)
    assert revoked.revoked_at == room.clock()
    assert {version.state for version in revoked.versions} <= {"revoked"}
    for again in (room.oauth_clients.revoke, room.oauth_clients.freeze, room.oauth_clients.unfreeze):
        with pytest.raises(oauth_client_rows.ClientAlreadyRevoked):
            await again(made.id, author=BY)
    with pytest.raises(oauth_client_rows.ClientAlreadyRevoked):
        await room.oauth_clients.change(revoked, ClientChange(name="Other"), author=BY)
    assert [event["action"] for event in await events(room, made.id)][-1] == "oauth_client.revoked"


async def test_to_revoke_all_versions_is_to_revoke_the_client(room: Room) -> None:
    """Whichever way it comes by; also where it has none."""
    for made in (
        await oauth_clients.made(room.oauth_clients),
        await oauth_clients.made_by_name(room.oauth_clients),
    ):
        await room.rotations.revoke(made.id, author=BY)
        assert (await room.oauth_clients.get(made.id)).revoked_at is not None


async def test_two_secrets_verify_and_no_more(room: Room) -> None:
    """A further rotation within the overlap ends the oldest."""
    made = await oauth_clients.made_with_secret(room.oauth_clients)
    first = await room.rotations.rotate(made.id, author=BY)
    assert first.shown is not None
    assert made.secret is not None
    assert first.shown.reveal() != made.secret.reveal()
    await room.rotations.rotate(made.id, Wish(even_if_used=True), author=BY)
    versions = (await room.oauth_clients.get(made.id)).versions
    assert [version.state for version in versions] == ["revoked", "retiring", "active"]


async def test_a_new_key_is_brought_and_overlaps(room: Room) -> None:
    """It is announced or serves at once, as every version of every secret."""
    made = await oauth_clients.made(room.oauth_clients)
    rotated = await room.rotations.rotate(made.id, Wish(prepare=True), offer(2, "two"), author=BY)
    assert rotated.shown is None
    await room.rotations.activate(made.id, author=BY)
    versions = (await room.oauth_clients.get(made.id)).versions
    assert [version.state for version in versions] == ["retiring", "active"]
    assert public_jwks.parse_serialised(versions[1].public_key or b"").kid == "two"


async def test_a_key_never_comes_back(room: Room) -> None:
    """Under another kid neither, and not after it was revoked."""
    made = await oauth_clients.made(room.oauth_clients)
    await room.rotations.rotate(made.id, offer=offer(2, "two"), author=BY)
    await room.rotations.revoke(made.id, 1, author=BY)
    with pytest.raises(oauth_client_secrets.JwkReused):
        await room.rotations.rotate(made.id, offer=offer(1, "anew"), author=BY)


async def test_two_keys_that_verify_have_each_their_kid(room: Room) -> None:
    """An assertion says by its kid which of them made it."""
    made = await oauth_clients.made(room.oauth_clients)
    with pytest.raises(oauth_client_secrets.JwkReused):
        await room.rotations.rotate(made.id, offer=offer(2, "one"), author=BY)
    await room.rotations.rotate(made.id, offer=offer(2), author=BY)


async def test_what_does_not_fit_a_client_is_refused(room: Room) -> None:
    """A key for a secret, none for a key, a proof, and anything where nothing lies here."""
    by_key = await oauth_clients.made(room.oauth_clients)
    by_secret = await oauth_clients.made_with_secret(room.oauth_clients)
    by_url = await oauth_clients.made(room.oauth_clients, keys_url="https://acme.example/jwks.json")
    by_name = await oauth_clients.made_by_name(room.oauth_clients)
    for made, brought, refusal in (
        (by_key, Offer(), oauth_client_secrets.JwkMissing),
        (by_key, msgspec.structs.replace(offer(2), proof=bytes(64)), oauth_client_secrets.ProofNeedless),
        (by_key, Offer(public_key=bytes(32)), public_jwks.InvalidJwk),
        (by_secret, offer(2), oauth_client_secrets.JwkNeedless),
        (by_url, offer(2), oauth_client_secrets.NothingToRotate),
        (by_name, Offer(), oauth_client_secrets.NothingToRotate),
    ):
        with pytest.raises(refusal):
            await room.rotations.rotate(made.id, offer=brought, author=BY)


async def test_the_last_version_is_not_retired(room: Room) -> None:
    """A client that is to end is revoked."""
    made = await oauth_clients.made(room.oauth_clients)
    with pytest.raises(rotation.StepRefused):
        await room.rotations.retire(made.id, 1, author=BY)


async def test_pages_go_on_where_the_last_one_ended(room: Room) -> None:
    """Oldest first, by partner and environment."""
    await room.custody.create_partner("other", "Other", "standard", author=BY)
    made = [await oauth_clients.made(room.oauth_clients, number=number) for number in (1, 2, 3)]
    live = await oauth_clients.made(room.oauth_clients, environment="live", partner="other")
    first = await room.oauth_clients.find_page(partner="acme", limit=2)
    rest = await room.oauth_clients.find_page(partner="acme", limit=2, after=first.after)
    assert {each.id for each in (*first.clients, *rest.clients)} == {each.id for each in made}
    assert rest.after is None
    assert [each.id for each in (await room.oauth_clients.find_page(environment="live")).clients] == [live.id]
