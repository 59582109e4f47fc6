"""From the ledger to deliveries: everything once, to whom it concerns, and nothing to anybody else."""

import asyncio
import os

import pytest
import sqlalchemy as sa

from gateway.webhooks.outbox import Outbox
from keys.webhooks import CONSUMER
from storage import audit, consumers, engine, schema
from tests.support.webhooks import OPERATOR, Scene


def outbox(scene: Scene, batch: int = 200) -> Outbox:
    return Outbox(scene.room.engine, scene.room.clock, os.urandom, batch=batch)


async def rows(scene: Scene) -> list[tuple[str, int, str]]:
    """Webhook, entry and event of every delivery."""
    table = schema.webhook_deliveries
    query = sa.select(table.c.webhook_id, table.c.seq, table.c.event).order_by(
        table.c.seq, table.c.webhook_id
    )
    async with engine.reading(scene.room.engine) as conn:
        return [(row[0], row[1], row[2]) for row in await conn.execute(query)]


async def place(scene: Scene) -> tuple[int | None, int]:
    """Where the reader stands, and where the ledger ends."""
    async with engine.reading(scene.room.engine) as conn:
        return await consumers.find(conn, CONSUMER), (await audit.head(conn))[0]


async def test_without_any_webhook_nothing_is_read_or_written(scene: Scene) -> None:
    """A gateway whose partners want none of this pays for none of it."""
    await scene.revoke_a_key()
    assert not await outbox(scene).take_over()
    assert (await place(scene))[0] is None


async def test_each_entry_is_put_in_line_once_for_each_webhook_that_asked(scene: Scene) -> None:
    """However often the ledger is read."""
    both = await scene.create()
    revoked = await scene.create(events=("key.revoked",))
    await scene.create(events=("leak.found",))
    key = await scene.revoke_a_key()
    for _ in range(3):
        assert await outbox(scene).take_over()
    found = await rows(scene)
    assert sorted(webhook for webhook, _, _ in found) == sorted([both.webhook.id, revoked.webhook.id])
    assert {event for _, _, event in found} == {"key.revoked"}
    (delivery,) = await scene.deliveries(both)
    assert key.key.id in delivery.body
    at, end = await place(scene)
    assert at == end


async def test_a_partner_is_told_of_its_own_alone(scene: Scene) -> None:
    """Another partner's key is never heard of."""
    acme, zephyr = await scene.create(), await scene.create("zephyr")
    key = await scene.revoke_a_key("zephyr")
    await outbox(scene).take_over()
    assert await scene.deliveries(acme) == ()
    (delivery,) = await scene.deliveries(zephyr)
    assert key.key.id in delivery.body


async def test_what_happened_before_the_first_webhook_is_not_told(scene: Scene) -> None:
    """The past is no news."""
    await scene.revoke_a_key()
    created = await scene.create()
    await outbox(scene).take_over()
    assert await scene.deliveries(created) == ()


async def test_a_disabled_webhook_gets_nothing_new_and_a_removed_one_nothing(scene: Scene) -> None:
    """Enabling it later does not bring what happened meanwhile."""
    disabled, removed = await scene.create(), await scene.create()
    await scene.webhooks.disable(disabled.webhook.id, author=OPERATOR)
    await scene.webhooks.remove(removed.webhook.id, author=OPERATOR)
    await scene.revoke_a_key()
    await outbox(scene).take_over()
    await scene.webhooks.enable(disabled.webhook.id, author=OPERATOR)
    await outbox(scene).take_over()
    assert await rows(scene) == []


async def test_a_test_reaches_its_own_webhook_whatever_that_is_subscribed_to(scene: Scene) -> None:
    """And no other of the partner's."""
    tested, other = await scene.create(events=("leak.found",)), await scene.create()
    await scene.webhooks.test(tested.webhook.id, author=OPERATOR)
    await outbox(scene).take_over()
    assert [(webhook, event) for webhook, _, event in await rows(scene)] == [
        (tested.webhook.id, "webhook.test")
    ]
    assert await scene.deliveries(other) == ()


async def test_a_long_ledger_is_read_in_batches(scene: Scene) -> None:
    """All of it, in order."""
    created = await scene.create(events=("key.revoked",))
    for _ in range(5):
        await scene.revoke_a_key()
    await outbox(scene, batch=2).take_over()
    assert len(await scene.deliveries(created)) == 5


async def test_two_nodes_that_read_at_once_put_each_entry_in_line_once(scene: Scene) -> None:
    """The reader's place is locked while a batch is taken over."""
    created = await scene.create(events=("key.revoked",))
    for _ in range(6):
        await scene.revoke_a_key()
    await asyncio.gather(*(outbox(scene, batch=2).take_over() for _ in range(3)))
    assert len(await scene.deliveries(created)) == 6


async def test_what_breaks_off_leaves_place_and_deliveries_as_they_were(scene: Scene) -> None:
    """They move together, so the next reading has all of it again."""
    await scene.create(events=("key.revoked",))
    second = await scene.create(events=("key.revoked",))
    await scene.revoke_a_key()
    at, _ = await place(scene)
    ids = iter([os.urandom(12)])
    broken = Outbox(scene.room.engine, scene.room.clock, lambda _: next(ids))
    with pytest.raises((StopIteration, RuntimeError)):
        await broken.take_over()
    assert (await rows(scene), (await place(scene))[0]) == ([], at)
    await outbox(scene).take_over()
    assert len(await scene.deliveries(second)) == 1
