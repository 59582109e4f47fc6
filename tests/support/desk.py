"""The operations over a real store, and the people who ask for them."""

from __future__ import annotations

import os
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.operations import ApprovalNeeded, Operations, Operator
from keys import kinds as kinds_
from keys.api_key_secrets import ApiKeySecrets
from keys.approval_records import Approval
from keys.approvals import Approvals
from keys.break_glass import BreakGlass
from keys.environment import ENVIRONMENTS
from keys.freezes import Freezes
from keys.leaks import Leaks
from keys.oauth_client_secrets import OAuthClientSecrets
from keys.register import Kind
from keys.resealing import Resealing
from keys.rewrapping import Rewrapping
from keys.ring_rotation import RingRotation, RingTimes
from keys.scheduler import Upkeep
from keys.schedules import Schedules
from keys.secret_pages import SecretPages
from keys.upstream_credentials import UpstreamCredentials
from keys.webhooks import Webhooks
from keys.wrappers import Wrappers
from policies import control, document
from storage import audit
from storage import engine as sql
from tests.support import people, webhooks
from tests.support.custody import Room, build_room, make_request

POLICIES = """
[permissions."orders:read"]
description = "See orders"
[permissions."orders:write"]
description = "Place orders"
trading = true
[roles.viewer]
permissions = ["orders:read"]
[roles.trader]
permissions = ["orders:read", "orders:write"]
[roles.approver]
permissions = ["control:approve", "control:approvals-read", "control:all-partners"]
[roles.risk]
permissions = []
[tiers.standard]
[tiers.gold]
[[approvals]]
action = "key.create"
environment = "live"
trading = true
[[approvals]]
action = "key.widen"
environment = "live"
[[approvals]]
action = "partner.create"
approvers = ["risk"]
expires = "1h"
"""


class Desk(msgspec.Struct, frozen=True):
    room: Room
    ops: Operations
    approvals: Approvals
    break_glass: BreakGlass
    webhooks: Webhooks

    async def ledger(self, limit: int = 200) -> list[audit.AuditEvent]:
        async with sql.reading(self.room.engine) as conn:
            return [entry.event for entry in await audit.tail(conn, limit)]

    async def approved(self, need: Approval, by: Operator) -> str:
        await self.ops.approvals.approve(by, need.id)
        return need.id

    def operations_under(self, policies: str, wrappers: Wrappers | None = None) -> Operations:
        """The same store, after somebody has edited the file."""
        return _build_operations(
            self.room, self.approvals, self.break_glass, self.webhooks, policies, wrappers=wrappers
        )


def build_desk(
    engine: AsyncEngine,
    policies: str = POLICIES,
    *,
    upkeep: tuple[Upkeep, ...] = (),
    room: Room | None = None,
    wrappers: Wrappers | None = None,
) -> Desk:
    """`upkeep`: what has things to be done, beside the rotations. `wrappers`: what is configured, where that is not
    what the room began with.
    """
    room = room or build_room(engine)
    approvals = Approvals(engine, room.changes, os.urandom)
    break_glass = BreakGlass(engine, room.changes, os.urandom)
    hooks = webhooks.build(room)
    ops = _build_operations(room, approvals, break_glass, hooks, policies, upkeep, wrappers)
    return Desk(room, ops, approvals, break_glass, hooks)


def _build_operations(
    room: Room,
    approvals: Approvals,
    break_glass: BreakGlass,
    hooks: Webhooks,
    policies: str,
    upkeep: tuple[Upkeep, ...] = (),
    wrappers: Wrappers | None = None,
) -> Operations:
    engine = room.engine
    kinds: dict[Kind, kinds_.Kind] = {
        "api-key": ApiKeySecrets(engine, room.data_keys, os.urandom),
        "oauth-client": OAuthClientSecrets(engine, room.data_keys, os.urandom),
    }
    ring = RingRotation(room.ring(), room.changes, RingTimes(lifetime_ms=30_000))
    parsed = document.parse(policies.encode(), "policies.toml")
    return Operations(
        engine,
        room.custody,
        Leaks(engine, room.data_keys, room.changes, os.urandom),
        parsed,
        approvals,
        break_glass,
        Freezes(engine, room.changes),
        str,
        rotations=room.rotations,
        secret_pages=SecretPages(engine, room.clock, kinds, Schedules()),
        upkeep=(room.rotations, *upkeep),
        lost_after_ms=10_000,
        data_keys=room.data_keys,
        rewrapping=Rewrapping(engine, wrappers or Wrappers(room.kms), room.changes),
        resealing=Resealing(engine, room.data_keys, room.changes, os.urandom, batch=1),
        rings={ring.name: ring},
        upstream_credentials=UpstreamCredentials(engine, room.data_keys, room.changes, os.urandom),
        webhooks=hooks,
        oauth_clients=room.oauth_clients,
        client_registration=room.client_registration,
        people=people.build_stored(room, people.KeptMails(), parsed),
    )


def person(name: str, *, without: tuple[str, ...] = (), partner: str | None = None, **more: Any) -> Operator:  # noqa: ANN401
    """Somebody who may do everything but what is named; with a partner, only there. `more` are further fields."""
    permissions = control.ALL.difference(without)
    if partner is not None:
        permissions -= {control.ALL_PARTNERS}
    fields: dict[str, Any] = {
        "actor": f"cli:{name}",
        "permissions": permissions,
        "environments": frozenset(ENVIRONMENTS),
        "partner": partner,
    }
    return Operator(**fields | more)


def showing(by: Operator, approval_id: str) -> Operator:
    return msgspec.structs.replace(by, approval=approval_id)


def under_glass(by: Operator) -> Operator:
    return msgspec.structs.replace(by, under_glass=True)


async def needed(operation: Any) -> Approval:  # noqa: ANN401  the coroutine of any operation
    """What is to be approved before the operation can be done."""
    try:
        await operation
    except ApprovalNeeded as need:
        return need.approval
    raise AssertionError("it was done without a second person")


def live_trader(**changes: object) -> Any:  # noqa: ANN401  a request for a key
    fields: dict[str, object] = {
        "partner": "acme",
        "environment": "live",
        "algorithm": "hmac-sha256",
        "roles": ("trader",),
    }
    return make_request(**fields | changes)
