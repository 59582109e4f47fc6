"""Attempts: when they are made, what they come to, and that none is lost or in another's way."""

import asyncio
import base64
import hashlib
import hmac

import msgspec
import pytest
import sqlalchemy as sa

from gateway.webhooks.dispatch import Dispatch
from keys.changes import Author
from keys.webhook_records import DeliveryStillWaiting
from storage import audit, engine, schema
from tests.support.webhooks import (
    DELIVERED,
    GONE,
    OPERATOR,
    PLAN,
    REFUSED,
    RETRIES,
    FakePost,
    Scene,
    build_dispatch,
    build_scene,
    until,
)

ALL_ATTEMPTS = len(RETRIES) + 1


async def actions(scene: Scene) -> list[tuple[str, object]]:
    async with engine.reading(scene.room.engine) as conn:
        found = await audit.tail(conn, 100)
    return [
        (entry.event.action, entry.event.details.get("why"))
        for entry in found
        if entry.event.action.startswith("webhook.")
    ]


async def settle_all(scene: Scene) -> None:
    """Every retry, each when it is due."""
    await scene.work()
    for seconds in RETRIES:
        await scene.work(seconds)


async def test_an_event_is_delivered_and_not_again(scene: Scene) -> None:
    """One request; then it is over."""
    created = await scene.create()
    key = await scene.revoke_a_key()
    for _ in range(3):
        await scene.work(3_600)
    (sent,) = scene.post.sent
    assert (sent.url, sent.type) == (created.webhook.url, "key.revoked")
    assert key.key.id.encode() in sent.body
    assert sent.headers["webhook-timestamp"] == str(scene.room.clock.now_ms // 1000 - 7_200)
    (delivery,) = await scene.deliveries(created)
    assert (delivery.state, delivery.attempts, delivery.last_status) == ("delivered", 1, 204)
    assert (delivery.id, delivery.next_attempt_at) == (sent.id, None)


async def test_attempts_follow_the_plan_with_one_id_and_end(scene: Scene) -> None:
    """Not a second early, the same id each time, and after the last one it is given up and audited."""
    created = await scene.create()
    await scene.revoke_a_key()
    scene.post.outcome = REFUSED
    await scene.work()
    for count, seconds in enumerate(RETRIES, start=1):
        await scene.work(seconds - 1)
        assert len(scene.post.sent) == count
        (waiting,) = await scene.deliveries(created)
        assert (waiting.state, waiting.last_status, waiting.last_failure) == ("waiting", 503, "status 503")
        await scene.work(1)
        assert len(scene.post.sent) == count + 1
    (ended,) = await scene.deliveries(created)
    assert (ended.state, ended.attempts, ended.next_attempt_at) == ("given-up", ALL_ATTEMPTS, None)
    assert len({sent.id for sent in scene.post.sent}) == 1
    assert len({sent.headers["webhook-timestamp"] for sent in scene.post.sent}) == ALL_ATTEMPTS
    await scene.work(86_400)
    assert len(scene.post.sent) == ALL_ATTEMPTS
    assert [action for action, _ in await actions(scene)] == ["webhook.created", "webhook.given_up"]


async def test_delays_are_spread_around_the_plan(scene: Scene) -> None:
    """By a fifth at most, either way."""
    for chance, seconds in ((b"\0\0\0\0", 4.0), (b"\xff\xff\xff\xff", 6.0)):
        created = await scene.create(events=("key.revoked",))
        await scene.revoke_a_key()
        worker = scene.another_worker(FakePost(REFUSED))
        worker._entropy = lambda size, chance=chance: chance  # type: ignore[misc]  # noqa: ARG005
        await worker.step()
        await worker.settled()
        (delivery,) = await scene.deliveries(created)
        assert delivery.next_attempt_at == pytest.approx(scene.room.clock.now_ms + 1000 * seconds, abs=1)
        await scene.webhooks.remove(created.webhook.id, author=OPERATOR)


async def test_a_target_that_recovers_is_told(scene: Scene) -> None:
    """What failed before is of no consequence."""
    created = await scene.create()
    await scene.revoke_a_key()
    scene.post.outcome = REFUSED
    await scene.work()
    scene.post.outcome = DELIVERED
    await scene.work(RETRIES[0])
    (delivery,) = await scene.deliveries(created)
    assert (delivery.state, delivery.attempts, delivery.last_failure) == ("delivered", 2, None)


async def test_gone_means_gone(scene: Scene) -> None:
    """410 ends the delivery and disables the webhook at once; what else waited stays for when it is enabled."""
    created = await scene.create()
    await scene.revoke_a_key()
    scene.post.outcome = GONE
    await scene.work()
    found = await scene.webhooks.get(created.webhook.id)
    assert found.disabled_reason == "the target says that it is gone"
    (delivery,) = await scene.deliveries(created)
    assert (delivery.state, delivery.attempts, delivery.last_status) == ("given-up", 1, 410)
    assert [action for action, _ in await actions(scene)][1:] == ["webhook.given_up", "webhook.disabled"]


async def test_a_webhook_where_one_after_the_other_is_given_up_is_disabled(scene: Scene) -> None:
    """After as many in a row as the plan says, and a delivery in between starts the count anew."""
    created = await scene.create(events=("key.revoked",))
    for outcome in (REFUSED, REFUSED, DELIVERED, REFUSED, REFUSED):
        scene.post.outcome = outcome
        await scene.revoke_a_key()
        await settle_all(scene)
    assert (await scene.webhooks.get(created.webhook.id)).disabled_at is None
    await scene.revoke_a_key()
    await settle_all(scene)
    found = await scene.webhooks.get(created.webhook.id)
    assert found.disabled_reason == "deliveries in a row were given up"
    assert (await actions(scene))[-1] == ("webhook.disabled", found.disabled_reason)


async def test_a_disabled_webhook_waits_and_goes_on(scene: Scene) -> None:
    """What stood in line before is delivered when it is enabled."""
    created = await scene.create()
    await scene.revoke_a_key()
    scene.post.outcome = REFUSED
    await scene.work()
    await scene.webhooks.disable(created.webhook.id, author=OPERATOR)
    await scene.work(3_600)
    assert len(scene.post.sent) == 1
    scene.post.outcome = DELIVERED
    await scene.webhooks.enable(created.webhook.id, author=OPERATOR)
    await scene.work()
    assert [one.state for one in await scene.deliveries(created)] == ["delivered"]


async def test_a_removed_webhook_is_told_nothing_more(scene: Scene) -> None:
    """Its line is ended with it."""
    created = await scene.create()
    await scene.revoke_a_key()
    scene.post.outcome = REFUSED
    await scene.work()
    await scene.webhooks.remove(created.webhook.id, author=OPERATOR)
    await scene.work(3_600)
    assert len(scene.post.sent) == 1
    async with engine.reading(scene.room.engine) as conn:
        states = (await conn.execute(sa.select(schema.webhook_deliveries.c.state))).scalars()
        assert list(states) == ["given-up"]


async def test_a_redelivery_begins_anew_with_the_same_id(scene: Scene) -> None:
    """Only of what has ended, and audited."""
    created = await scene.create()
    await scene.revoke_a_key()
    scene.post.outcome = REFUSED
    await scene.work()
    (waiting,) = await scene.deliveries(created)
    with pytest.raises(DeliveryStillWaiting):
        await scene.webhooks.redeliver(waiting.id, author=OPERATOR)
    for seconds in RETRIES:
        await scene.work(seconds)
    scene.post.outcome = DELIVERED
    again = await scene.webhooks.redeliver(waiting.id, author=OPERATOR)
    assert (again.state, again.attempts) == ("waiting", 0)
    await scene.work()
    assert {sent.id for sent in scene.post.sent} == {waiting.id}
    assert [one.state for one in await scene.deliveries(created)] == ["delivered"]
    assert (await actions(scene))[-1][0] == "webhook.redelivered"


async def test_an_attempt_that_nothing_is_heard_of_is_made_again(scene: Scene) -> None:
    """A worker that dies between the claim and the answer has lost nothing; the id shows that it is the same."""
    created = await scene.create()
    await scene.revoke_a_key()
    scene.post.stuck.add(created.webhook.url)
    await scene.dispatch.step()
    await until(lambda: bool(scene.post.sent))
    await scene.dispatch._stop()
    successor = FakePost()
    worker = scene.another_worker(successor)
    await worker.step()
    await worker.settled()
    assert not successor.sent
    scene.room.clock.now_ms += PLAN.hold_ms
    await worker.step()
    await worker.settled()
    assert [sent.id for sent in successor.sent] == [scene.post.sent[0].id]
    (delivery,) = await scene.deliveries(created)
    assert (delivery.state, delivery.attempts) == ("delivered", 2)


async def test_two_workers_make_an_attempt_once(scene: Scene) -> None:
    """Should the lease ever be two nodes' at once, a claim is still one's alone."""
    await scene.create(events=("key.revoked",))
    for _ in range(3):
        await scene.revoke_a_key()
    workers: list[Dispatch] = [scene.another_worker() for _ in range(4)]
    for _ in range(3):
        await asyncio.gather(*(worker.step() for worker in workers))
        await asyncio.gather(*(worker.settled() for worker in workers))
    assert len(scene.post.sent) == 3
    assert len({sent.id for sent in scene.post.sent}) == 3


async def test_a_late_answer_does_not_undo_what_came_after(scene: Scene) -> None:
    """A worker that was away past its hold finds that the attempt is another's by now."""
    created = await scene.create()
    await scene.revoke_a_key()
    successor = FakePost(DELIVERED)

    async def be_overtaken() -> None:
        scene.room.clock.now_ms += PLAN.hold_ms
        other = scene.another_worker(successor)
        await other.step()
        await other.settled()

    scene.post.on_post, scene.post.outcome = be_overtaken, GONE
    await scene.work()
    (delivery,) = await scene.deliveries(created)
    assert (delivery.state, delivery.attempts) == ("delivered", 2)
    assert (await scene.webhooks.get(created.webhook.id)).disabled_at is None


async def test_only_whoever_holds_the_lease_works(scene: Scene) -> None:
    """Another node does not so much as look."""

    class Others:
        async def take(self) -> bool:
            return False

    await scene.create()
    await scene.revoke_a_key()
    idle = scene.another_worker(lease=Others())
    await idle.step()
    await idle.settled()
    assert not scene.post.sent


async def test_a_kms_that_is_away_costs_no_attempt(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """The delivery waits, and is made when the secret opens again."""
    created = await scene.create()
    await scene.revoke_a_key()
    fresh = scene.room.another_node()
    fresh.kms.down = True
    restarted = build_scene(fresh)
    await restarted.work()
    (delivery,) = await scene.deliveries(created)
    assert (delivery.attempts, restarted.post.sent) == (0, [])
    assert "stays in line" in caplog.text
    fresh.kms.down = False
    await restarted.work()
    assert len(restarted.post.sent) == 1


async def test_a_secret_that_does_not_open_ends_like_any_failure(scene: Scene) -> None:
    """It is tried as often as the plan says, is signed by nothing else, and nothing is sent unsigned."""
    created = await scene.create()
    await scene.revoke_a_key()
    async with engine.transaction(scene.room.engine) as conn:
        await conn.execute(sa.update(schema.secret_versions).values(state="revoked"))
    await settle_all(scene)
    (delivery,) = await scene.deliveries(created)
    assert (delivery.state, delivery.last_failure) == ("given-up", "no secret to sign with")
    assert not scene.post.sent


async def test_what_is_sent_is_signed_by_the_webhooks_own_secret(scene: Scene) -> None:
    """Two webhooks of one partner get two signatures."""
    first, second = await scene.create(), await scene.create(url="https://second.acme.example/")
    await scene.revoke_a_key()
    await scene.work()
    assert len(scene.post.sent) == 2
    for created in (first, second):
        key = base64.b64decode(created.secret.reveal().removeprefix("whsec_"))
        sent = next(one for one in scene.post.sent if one.url == created.webhook.url)
        assert sent.headers["webhook-signature"] == _expected(key, sent.headers, sent.body)


def _expected(key: bytes, headers: dict[str, str], body: bytes) -> str:
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


async def test_old_deliveries_are_forgotten_and_waiting_ones_never(scene: Scene) -> None:
    """What ended long ago goes; what waits stays, however long."""
    created = await scene.create()
    await scene.revoke_a_key()
    await scene.work()
    await scene.webhooks.disable(created.webhook.id, author=OPERATOR)
    await scene.work(29 * 86_400)
    assert len(await scene.deliveries(created)) == 1
    await scene.webhooks.enable(created.webhook.id, author=OPERATOR)
    await scene.revoke_a_key()
    scene.post.outcome = REFUSED
    await scene.work()
    await scene.webhooks.disable(created.webhook.id, author=OPERATOR)
    await scene.work(100 * 86_400)
    assert [one.state for one in await scene.deliveries(created)] == ["waiting"]


async def test_the_worker_runs_until_it_is_told_to_stop(scene: Scene) -> None:
    """It notices what happens while it runs, and ends with nothing left running."""
    await scene.create(events=("key.revoked",))
    quick = msgspec.structs.replace(PLAN, poll_ms=5)
    worker = build_dispatch(scene.room, scene.webhooks, scene.post, plan=quick)
    task = asyncio.create_task(worker.run())
    await scene.revoke_a_key()
    await until(lambda: bool(scene.post.sent))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert worker._running == {}


async def test_the_ledger_names_the_system_where_nobody_decided(scene: Scene) -> None:
    """And tells of the failure in words of ours."""
    await scene.create()
    await scene.room.custody.freeze_partner("acme", author=Author("alice"))
    scene.post.outcome = GONE
    await scene.work()
    async with engine.reading(scene.room.engine) as conn:
        given_up = (await audit.tail(conn, 2))[0].event
    assert (given_up.action, given_up.actor, given_up.partner) == ("webhook.given_up", "system", "acme")
    assert given_up.details["failure"] == "status 410"
