"""A restart with many keys: the KMS is asked once for each data key, however much is sealed under it."""

import pytest

from keys.changes import Author
from keys.environment import ENVIRONMENTS
from tests.support import many_keys
from tests.support.custody import Room

MANY = 10_000
OPERATOR = Author("operator")


@pytest.mark.parametrize("migrated_url", ["sqlite"], indirect=True)
async def test_ten_thousand_keys_take_one_call_a_data_key(room: Room) -> None:
    """Two environments of two epochs, and the ring's: five calls, and every key is served."""
    await many_keys.insert(room, MANY // 2)
    for domain in ENVIRONMENTS:
        await room.data_keys.rotate(domain, author=OPERATOR)
    await many_keys.insert(room, MANY // 2)
    await room.ring().ensure(author=OPERATOR)
    node = room.another_node()
    calls = room.kms.calls
    directory = node.directory(companions=(node.data_keys, node.ring()))
    await directory.load()
    assert room.kms.calls - calls == 5
    assert len(directory) == MANY
    assert not directory.incomplete
    await directory.refresh()
    assert room.kms.calls - calls == 5
