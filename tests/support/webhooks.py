"""Webhooks in tests: the service over a room, a post that does as it is told, and the worker on both."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.webhooks import targets
from gateway.webhooks.dispatch import Alone, Dispatch, Lease, Plan
from gateway.webhooks.sending import Outcome
from gateway.webhooks.signing import Headers
from keys import webhook_deliveries
from keys.changes import Author
from keys.records import CreatedKey
from keys.webhook_records import EVENTS, CreatedWebhook, Delivery
from keys.webhooks import Webhooks
from storage import engine as sql
from tests.support.custody import Room

OPERATOR = Author("operator")
URL = "https://hooks.acme.example/portreeve?key=partners-own-secret"
DELIVERED = Outcome(204, None)
REFUSED = Outcome(503, "status 503")
GONE = Outcome(410, "status 410")
RETRIES = (5, 30, 120)
PLAN = Plan(retry_after_s=RETRIES, hold_ms=60_000, disable_after=3, per_partner=2, concurrency=4)


def build(room: Room, rules: targets.Rules | None = None) -> Webhooks:
    allowed = rules or targets.Rules()
    return Webhooks(
        room.engine,
        room.data_keys,
        room.changes,
        room.clock,
        os.urandom,
        examine=lambda url: targets.parse(url, allowed).origin,
    )


async def replaced(webhooks: Webhooks, partner: str, slot: str) -> CreatedWebhook:
    """A new one in the place of the one before, so that a partner never has too many."""
    url = f"https://hooks.example.com/{partner}/{slot}"
    for each in await webhooks.list(partner):
        if each.url == url:
            await webhooks.remove(each.id, author=OPERATOR)
    return await webhooks.create(partner, url, EVENTS, author=OPERATOR)


async def ended_delivery(engine: AsyncEngine, webhook_id: str, number: int) -> str:
    """One that was given up, as if it had told of the ledger's entry of that number."""
    delivery_id = f"msg_{number:024d}"
    async with sql.transaction(engine) as conn:
        await webhook_deliveries.insert(
            conn,
            delivery_id=delivery_id,
            webhook_id=webhook_id,
            seq=number,
            event="key.revoked",
            body="{}",
            now_ms=1,
        )
        await webhook_deliveries.set_given_up(
            conn, delivery_id, 0, status=503, failure="status 503", now_ms=2
        )
    return delivery_id


class Sent(msgspec.Struct, frozen=True):
    url: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def type(self) -> str:
        found: str = msgspec.json.decode(self.body)["type"]
        return found


class FakePost:
    """Answers what it is told, by URL or for all; one whose URL is in `stuck` never comes back."""

    def __init__(self, outcome: Outcome = DELIVERED) -> None:
        self.outcome = outcome
        self.outcomes: dict[str, Outcome] = {}
        self.stuck: set[str] = set()
        self.sent: list[Sent] = []
        self.on_post: Callable[[], Awaitable[None]] | None = None

    async def post(self, url: str, headers: Headers, body: bytes) -> Outcome:
        self.sent.append(Sent(url, dict(headers), body))
        if self.on_post is not None:
            await self.on_post()
        if url in self.stuck:
            await asyncio.Event().wait()
        return self.outcomes.get(url, self.outcome)


class Scene(msgspec.Struct):
    """A room with its webhooks, what was sent, and a worker."""

    room: Room
    webhooks: Webhooks
    post: FakePost
    dispatch: Dispatch

    async def create(
        self, partner: str = "acme", url: str = URL, events: tuple[str, ...] = EVENTS
    ) -> CreatedWebhook:
        return await self.webhooks.create(partner, url, events, author=OPERATOR)

    async def revoke_a_key(self, partner: str = "acme") -> CreatedKey:
        key = await self.room.create_key(partner=partner)
        await self.room.custody.revoke_key(key.key.id, author=Author("alice", "her words", "192.0.2.7"))
        return key

    async def work(self, seconds: float = 0) -> None:
        """So much later, everything that is due then."""
        self.room.clock.now_ms += int(seconds * 1000)
        await self.dispatch.step()
        await self.dispatch.settled()

    async def deliveries(self, created: CreatedWebhook) -> tuple[Delivery, ...]:
        return await self.webhooks.list_deliveries(created.webhook.id)

    def another_worker(self, post: FakePost | None = None, lease: Lease | None = None) -> Dispatch:
        return build_dispatch(self.room, self.webhooks, post or self.post, lease=lease)


def build_dispatch(
    room: Room, webhooks: Webhooks, post: FakePost, *, plan: Plan = PLAN, lease: Lease | None = None
) -> Dispatch:
    # The middle of the jitter: delays are those of the plan.
    return Dispatch(room.engine, webhooks, post, lease or Alone(), room.clock, _centred(os.urandom), plan)


def _centred(entropy: Callable[[int], bytes]) -> Callable[[int], bytes]:
    return lambda size: b"\x80\0\0\0" if size == 4 else entropy(size)


def build_scene(room: Room, *, plan: Plan = PLAN) -> Scene:
    webhooks, post = build(room), FakePost()
    return Scene(room, webhooks, post, build_dispatch(room, webhooks, post, plan=plan))


async def until(holds: Callable[[], bool]) -> None:
    """The bound only ends a test that fails."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  the worker is asked, it tells nobody
            await asyncio.sleep(0.005)
