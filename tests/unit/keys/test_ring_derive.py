"""Secrets that follow from a ring's keys: the same on every node, and through a change of keys."""

import pytest

from keys import ring, signing_keys
from keys.changes import Author
from keys.ring_rotation import RingRotation, RingTimes
from tests.support.custody import Room

OPERATOR = Author("operator", "a test")
TIMES = RingTimes(lifetime_ms=30_000, skew_ms=1_000, cache_ms=300_000, spread_ms=30_000)


def revealed(opened: ring.Ring, label: bytes = b"nonces") -> list[bytes]:
    return [secret.reveal() for secret in opened.derive(label)]


async def test_every_node_derives_the_same(empty_room: Room) -> None:
    """Nodes that read one ring have the same secret for a purpose, and another for another purpose."""
    opened = empty_room.ring()
    await opened.ensure(author=OPERATOR)
    other = empty_room.another_node().ring()
    await other.refresh()
    assert revealed(opened) == revealed(other)
    assert revealed(opened) != revealed(opened, b"something else")
    assert opened.derive(b"nonces") is opened.derive(b"nonces")


async def test_a_change_of_keys_leaves_the_old_secret_known(empty_room: Room) -> None:
    """The announced key's secret is known before it is the first, and the retired one's after it was."""
    opened = empty_room.ring()
    await opened.ensure(author=OPERATOR)
    rotated = RingRotation(opened, empty_room.changes, TIMES)
    (first,) = revealed(opened)
    await rotated.announce(author=OPERATOR)
    await opened.refresh()
    assert revealed(opened)[0] == first
    _, second = revealed(opened)
    empty_room.clock.now_ms += TIMES.lead_ms
    await rotated.activate(author=OPERATOR)
    await opened.refresh()
    assert revealed(opened) == [second, first]


def test_a_ring_without_a_key_derives_nothing(empty_room: Room) -> None:
    """Without a current key there is nothing to derive from."""
    with pytest.raises(ring.RingUnusable):
        empty_room.ring().derive(b"nonces")


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256"])
def test_what_is_derived_is_not_the_key(algorithm: signing_keys.Algorithm) -> None:
    """Keys of both kinds give 32 bytes that are not their own."""
    raw = bytes(range(1, 33))
    derived = signing_keys.derive(signing_keys.from_bytes(algorithm, raw), b"nonces")
    assert len(derived) == 32
    assert derived != raw
