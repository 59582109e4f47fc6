"""Many targets at once, and none in the way of another, or of the gateway's own work."""

import msgspec
import pytest

from keys.secret import SecretBytes
from tests.support.webhooks import PLAN, Scene, build_dispatch, until

ZEPHYR = "https://zephyr.example/"
SLOW = "https://slow.acme.example/"


async def test_one_slow_target_is_in_nobodys_way(scene: Scene) -> None:
    """It holds its own partner's share; the others are told at once, and its own backlog waits."""
    scene.post.stuck.add(SLOW)
    await scene.create("acme", SLOW, ("key.revoked",))
    await scene.create("zephyr", events=("key.revoked",))
    for _ in range(6):
        await scene.revoke_a_key()
    await scene.revoke_a_key("zephyr")
    await scene.dispatch.step()
    await until(lambda: len(scene.post.sent) == PLAN.per_partner + 1)
    assert [sent.url for sent in scene.post.sent].count(SLOW) == PLAN.per_partner
    await scene.dispatch._stop()


async def test_a_backlog_does_not_stand_before_others(scene: Scene) -> None:
    """With room for four, the first of each partner comes before the second of any."""
    await scene.create("acme", events=("key.revoked",))
    await scene.create("zephyr", ZEPHYR, ("key.revoked",))
    for _ in range(9):
        await scene.revoke_a_key()
    scene.room.clock.now_ms += 1000
    await scene.revoke_a_key("zephyr")
    await scene.work()
    assert ZEPHYR in {sent.url for sent in scene.post.sent}
    assert len(scene.post.sent) == PLAN.per_partner + 1


async def test_partners_that_use_up_their_share_leave_the_rest_to_others(scene: Scene) -> None:
    """While one has as many on the way as is its due and more in line, another's is begun at the next step."""
    scene.post.stuck.add(SLOW)
    await scene.create("acme", SLOW, ("key.revoked",))
    for _ in range(12):
        await scene.revoke_a_key()
    await scene.dispatch.step()
    await until(lambda: len(scene.post.sent) == PLAN.per_partner)
    await scene.create("zephyr", ZEPHYR, ("key.revoked",))
    await scene.revoke_a_key("zephyr")
    scene.room.clock.now_ms += 1
    await scene.dispatch.step()
    await until(lambda: len(scene.post.sent) == PLAN.per_partner + 1)
    assert [sent.url for sent in scene.post.sent] == [SLOW] * PLAN.per_partner + [ZEPHYR]
    await scene.dispatch._stop()


async def test_few_attempts_at_a_time_are_at_the_store(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connections are there for requests first, however many targets are told at once."""
    opened, most, inside = scene.webhooks.open_signing_keys, 0, 0

    async def count(webhook_id: str) -> tuple[SecretBytes, ...]:
        nonlocal most, inside
        inside += 1
        most = max(most, inside)
        try:
            return await opened(webhook_id)
        finally:
            inside -= 1

    monkeypatch.setattr(scene.webhooks, "open_signing_keys", count)
    wide = msgspec.structs.replace(PLAN, concurrency=20, per_partner=20)
    await scene.create(events=("key.revoked",))
    for _ in range(8):
        await scene.revoke_a_key()
    worker = build_dispatch(scene.room, scene.webhooks, scene.post, plan=wide)
    await worker.step()
    await worker.settled()
    assert (len(scene.post.sent), most) == (8, 2)
