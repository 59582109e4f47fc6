"""Rotating Ed25519 keys to what their partner brings."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keys import api_key_secrets, ed25519, requests
from keys.kinds import Offer
from keys.records import CreatedKey
from tests.support.custody import Room
from tests.support.rotated import OFFICER, rows, served, states


def public_key() -> tuple[Ed25519PrivateKey, bytes]:
    private = Ed25519PrivateKey.generate()
    return private, private.public_key().public_bytes_raw()


@pytest.fixture
async def made(room: Room) -> CreatedKey:
    return await room.create_key()


async def test_a_public_key_is_rotated_to_what_the_partner_brings(room: Room) -> None:
    """Both verify during the overlap; no KMS is asked and no secret made."""
    _, old = public_key()
    _, new = public_key()
    made = await room.create_key(algorithm="ed25519", public_key=old)
    room.kms.down = True
    rotated = await room.rotations.rotate(made.key.id, offer=Offer(public_key=new), author=OFFICER)
    assert rotated.shown is None
    assert [row["public_key"] for row in await rows(room, made.key.id)] == [old, new]
    assert [version for version, _ in (await served(room, made.key.id)).verifiers] == [1, 2]


async def test_a_public_key_that_does_not_fit_is_refused(room: Room, made: CreatedKey) -> None:
    """None, a weak one, one it has had before, one for an HMAC key, and one without the proof that was offered."""
    private, new = public_key()
    _, old = public_key()
    key_id = (await room.create_key(algorithm="ed25519", public_key=old)).key.id
    rotate = room.rotations.rotate
    with pytest.raises(requests.PublicKeyMissing):
        await rotate(key_id, author=OFFICER)
    with pytest.raises(ed25519.InvalidPublicKey):
        await rotate(key_id, offer=Offer(public_key=bytes(32)), author=OFFICER)
    with pytest.raises(api_key_secrets.PublicKeyReused):
        await rotate(key_id, offer=Offer(public_key=old), author=OFFICER)
    with pytest.raises(requests.PublicKeyNeedless):
        await rotate(made.key.id, offer=Offer(public_key=new), author=OFFICER)
    elsewhere = private.sign(api_key_secrets.proof_message(made.key.id, new))
    with pytest.raises(api_key_secrets.ProofRefused):
        await rotate(key_id, offer=Offer(public_key=new, proof=elsewhere), author=OFFICER)
    assert await states(room, key_id) == ["active"]
    proof = private.sign(api_key_secrets.proof_message(key_id, new))
    await rotate(key_id, offer=Offer(public_key=new, proof=proof), author=OFFICER)
    assert await states(room, key_id) == ["retiring", "active"]


async def test_a_public_key_that_was_ended_never_comes_back(room: Room) -> None:
    """Not even when it was revoked and destroyed."""
    _, old = public_key()
    key_id = (await room.create_key(algorithm="ed25519", public_key=old)).key.id
    await room.rotations.rotate(key_id, offer=Offer(public_key=public_key()[1]), author=OFFICER)
    await room.rotations.retire(key_id, author=OFFICER)
    await room.rotations.destroy(key_id, 1, author=OFFICER)
    with pytest.raises(api_key_secrets.PublicKeyReused):
        await room.rotations.rotate(key_id, offer=Offer(public_key=old), author=OFFICER)
