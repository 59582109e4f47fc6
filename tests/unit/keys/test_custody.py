import json
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keys import api_keys, ed25519, kms, partners, requests
from keys import format as key_format
from keys.changes import Author
from storage import engine, schema
from tests.support.custody import START_MS, Room, make_request

PUBLIC_KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32).public_key().public_bytes_raw()


async def rows(room: Room, table: sa.Table) -> list[dict[str, Any]]:
    async with engine.reading(room.engine) as conn:
        return [dict(row) for row in (await conn.execute(sa.select(table))).mappings()]


async def last_event(room: Room) -> dict[str, Any]:
    return (await rows(room, schema.audit_events))[-1]


async def test_a_partner_is_created_and_listed(empty_room: Room) -> None:
    """A new partner is there, by id and in the list, and the ledger says who made it."""
    made = await empty_room.custody.create_partner("acme", "Acme", "gold", author=Author("officer", "signed"))
    await empty_room.custody.create_partner("aaa", "First", "gold", author=Author("officer"))
    assert (made.id, made.name, made.tier, made.created_at) == ("acme", "Acme", "gold", START_MS)
    assert await empty_room.custody.get_partner("acme") == made
    assert [partner.id for partner in await empty_room.custody.list_partners()] == ["aaa", "acme"]
    event = (await rows(empty_room, schema.audit_events))[0]
    assert (event["actor"], event["action"], event["subject"], event["reason"]) == (
        "officer",
        "partner.created",
        "acme",
        "signed",
    )


async def test_a_second_partner_of_one_id_is_refused(room: Room) -> None:
    """An id names one partner; the attempt leaves the first as it was, and no event."""
    before = await rows(room, schema.audit_events)
    with pytest.raises(partners.PartnerExists):
        await room.custody.create_partner("acme", "Other", "gold", author=Author("officer"))
    assert (await room.custody.get_partner("acme")).name == "Acme Trading"
    assert await rows(room, schema.audit_events) == before


async def test_an_unknown_partner_is_said(room: Room) -> None:
    """Reading, freezing and giving a key to nobody are refused."""
    custody = room.custody
    with pytest.raises(partners.UnknownPartner):
        await custody.get_partner("nobody")
    with pytest.raises(partners.UnknownPartner):
        await custody.freeze_partner("nobody", author=Author("officer"))
    with pytest.raises(partners.UnknownPartner):
        await room.create_key(partner="nobody")
    assert (await custody.list_keys()).keys == ()


async def test_a_partner_freezes_and_unfreezes(room: Room) -> None:
    """A frozen partner carries when and why; unfrozen it carries neither; both are in the ledger."""
    room.clock.now_ms += 5
    frozen = await room.custody.freeze_partner("acme", author=Author("officer", "unpaid"))
    assert (frozen.frozen_at, frozen.frozen_reason) == (START_MS + 5, "unpaid")
    assert (await last_event(room))["action"] == "partner.frozen"
    with pytest.raises(partners.PartnerAlreadyFrozen):
        await room.custody.freeze_partner("acme", author=Author("officer"))
    thawed = await room.custody.unfreeze_partner("acme", author=Author("officer"))
    assert (thawed.frozen_at, thawed.frozen_reason) == (None, None)
    assert (await last_event(room))["action"] == "partner.unfrozen"
    with pytest.raises(partners.PartnerNotFrozen):
        await room.custody.unfreeze_partner("acme", author=Author("officer"))


async def test_an_hmac_key_comes_with_its_secret_once(room: Room) -> None:
    """Creating a key answers its id and its secret; reading it again answers no secret."""
    made = await room.create_key(label="desk", cidrs=("10.0.0.1",), permissions=("orders:read",))
    assert key_format.parse_key_id(made.key.id) == "paper"
    assert made.secret is not None
    assert key_format.parse_secret(made.secret.reveal()) == "paper"
    assert made.version == 1
    assert await room.custody.get_key(made.key.id) == made.key
    assert (made.key.cidrs, made.key.permissions, made.key.label) == (
        ("10.0.0.1/32",),
        ("orders:read",),
        "desk",
    )
    assert [(version.version, version.state) for version in made.key.versions] == [(1, "active")]


async def test_the_secret_is_stored_only_sealed(room: Room) -> None:
    """Neither the row nor the ledger holds the secret or any part of it; the ciphertext has its marker."""
    made = await room.create_key()
    assert made.secret is not None
    shown = made.secret.reveal()
    version = (await rows(room, schema.secret_versions))[0]
    everything = repr(version) + json.dumps(await rows(room, schema.audit_events)) + repr(made)
    assert shown[10:30] not in everything
    assert version["ciphertext"][:1] == b"\x01"
    data_key = await room.data_keys.get(version["data_key_id"])
    opened = api_keys.open_secret(
        data_key, version["ciphertext"], key_id=made.key.id, version=1, environment="paper"
    )
    assert opened == shown.encode()


async def test_an_ed25519_key_has_no_secret(room: Room) -> None:
    """The partner keeps the private half: only the public one is stored, and no KMS is asked."""
    calls = room.kms.calls
    made = await room.create_key(algorithm="ed25519", public_key=PUBLIC_KEY, environment="live")
    assert made.secret is None
    version = (await rows(room, schema.secret_versions))[0]
    assert (version["ciphertext"], version["data_key_id"], version["public_key"]) == (None, None, PUBLIC_KEY)
    assert room.kms.calls == calls


async def test_creating_a_key_is_in_the_ledger(room: Room) -> None:
    """The event says what the key may do and for whom, with the environment."""
    made = await room.create_key(roles=("trader", "viewer"), expires_at=START_MS + 1)
    event = await last_event(room)
    assert (event["action"], event["subject"], event["environment"]) == (
        "api_key.created",
        made.key.id,
        "paper",
    )
    assert event["partner"] == "acme"
    assert event["details"] | {"roles": ["trader", "viewer"], "version": 1} == event["details"]


async def test_a_refused_request_stores_nothing(room: Room) -> None:
    """A small-order public key is refused before anything is stored."""
    with pytest.raises(ed25519.InvalidPublicKey):
        await room.create_key(algorithm="ed25519", public_key=bytes(32))
    with pytest.raises(requests.InvalidExpiry):
        await room.create_key(expires_at=START_MS)
    assert not await rows(room, schema.api_keys)


async def test_without_a_kms_new_secrets_are_refused(room: Room) -> None:
    """When the KMS is away a new key is refused whole; an Ed25519 key, which needs none, is made."""
    room.kms.down = True
    with pytest.raises(kms.KmsUnavailable):
        await room.create_key()
    assert not await rows(room, schema.api_keys)
    await room.create_key(algorithm="ed25519", public_key=PUBLIC_KEY)
    assert len(await rows(room, schema.api_keys)) == 1


async def test_a_revoked_key_stays_revoked(room: Room) -> None:
    """Revoking stamps the key and its versions, and cannot be done twice or frozen away."""
    made = await room.create_key()
    room.clock.now_ms += 7
    revoked = await room.custody.revoke_key(made.key.id, author=Author("officer", "leaked"))
    assert (revoked.revoked_at, revoked.revoked_reason) == (START_MS + 7, "leaked")
    assert [version.state for version in revoked.versions] == ["revoked"]
    event = await last_event(room)
    assert (event["action"], event["environment"], event["reason"]) == ("api_key.revoked", "paper", "leaked")
    for again in (room.custody.revoke_key, room.custody.freeze_key, room.custody.unfreeze_key):
        with pytest.raises(api_keys.AlreadyRevoked):
            await again(made.key.id, author=Author("officer"))


async def test_a_key_freezes_and_unfreezes(room: Room) -> None:
    """Freezing is reversible, and each way is refused when it is already so."""
    made = await room.create_key()
    with pytest.raises(api_keys.KeyNotFrozen):
        await room.custody.unfreeze_key(made.key.id, author=Author("officer"))
    frozen = await room.custody.freeze_key(made.key.id, author=Author("officer", "odd hours"))
    assert (frozen.frozen_at, frozen.frozen_reason) == (START_MS, "odd hours")
    with pytest.raises(api_keys.KeyAlreadyFrozen):
        await room.custody.freeze_key(made.key.id, author=Author("officer"))
    thawed = await room.custody.unfreeze_key(made.key.id, author=Author("officer"))
    assert msgspec.structs.replace(thawed, revision=made.key.revision) == made.key
    assert thawed.revision > frozen.revision > made.key.revision
    assert thawed == msgspec.structs.replace(made.key, revision=frozen.revision + 1)


async def test_an_unknown_key_is_said(room: Room) -> None:
    """No change and no reading of a key that is not there."""
    unknown = key_format.mint_key_id("paper", bytes(16))
    with pytest.raises(api_keys.UnknownKey):
        await room.custody.get_key(unknown)
    for change in (room.custody.revoke_key, room.custody.freeze_key, room.custody.unfreeze_key):
        with pytest.raises(api_keys.UnknownKey):
            await change(unknown, author=Author("officer"))


async def test_every_change_stamps_its_revision(room: Room) -> None:
    """Each change bumps the revision by one, stamps its row, and announces that very revision."""
    made = await room.create_key()
    await room.custody.freeze_key(made.key.id, author=Author("officer"))
    stamped = (await rows(room, schema.api_keys))[0]["revision"]
    await room.custody.freeze_partner("acme", author=Author("officer"))
    partner = (await rows(room, schema.partners))[0]["revision"]
    assert partner == stamped + 1
    assert room.wakeup.announced[-2:] == [stamped, partner]


async def test_pages_cover_every_key_once(room: Room) -> None:
    """Page after page, oldest first, each key comes exactly once, also when many are of one moment."""
    made = [(await room.create_key(label=f"k{n}")).key.id for n in range(5)]
    room.clock.now_ms += 1
    made.append((await room.create_key()).key.id)
    seen: list[str] = []
    after: str | None = None
    while True:
        page = await room.custody.list_keys(limit=2, after=after)
        seen += [key.id for key in page.keys]
        after = page.after
        if after is None:
            break
    assert sorted(seen) == sorted(made)
    assert seen[-1] == made[-1]


async def test_lists_are_narrowed(room: Room) -> None:
    """By partner and by environment; keys come with their versions."""
    await room.custody.create_partner("other", "Other", "gold", author=Author("officer"))
    paper = (await room.create_key()).key
    live = (await room.create_key(environment="live")).key
    theirs = (await room.create_key(partner="other")).key
    assert (await room.custody.list_keys(partner="other")).keys == (theirs,)
    assert (await room.custody.list_keys(environment="live")).keys == (live,)
    assert (await room.custody.list_keys(partner="acme", environment="paper")).keys == (paper,)


async def test_a_page_from_an_unknown_key_is_refused(room: Room) -> None:
    """A cursor is the id of a key."""
    with pytest.raises(api_keys.UnknownKey):
        await room.custody.list_keys(after="nothing")


async def test_limits_of_a_page_are_kept(room: Room) -> None:
    """A page has at least one key, whatever was asked."""
    await room.create_key()
    await room.create_key()
    assert len((await room.custody.list_keys(limit=0)).keys) == 1


async def test_an_unmade_request_is_not_coerced() -> None:
    """A request is decoded strictly: a number is no address range."""
    with pytest.raises(ValueError, match="cidrs"):
        make_request(partner="a", environment="paper", algorithm="ed25519", roles=("r",), cidrs=(5,))
