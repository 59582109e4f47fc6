"""What operators of the gateway alone may do asks for its permission by itself, whoever has called it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.operations import Operations, Operator, PermissionMissing
from gateway.operations.node_operations import UnknownRevision
from policies import control
from tests.support.desk import Desk, person

Ask = Callable[[Operations, Operator], Awaitable[Any]]

ASKED: list[tuple[str, Ask]] = [
    (control.NODES_READ, lambda ops, by: ops.nodes.follow(by)),
    (control.FREEZES_READ, lambda ops, by: ops.freezes.find_all(by)),
    (control.FREEZES_READ, lambda ops, by: ops.freezes.get(by, "route", "orders")),
    (control.FREEZE, lambda ops, by: ops.freezes.freeze(by, "environment", "live")),
    (control.UNFREEZE, lambda ops, by: ops.freezes.unfreeze(by, "environment", "live")),
    (control.APPROVALS_READ, lambda ops, by: ops.break_glass.find_all_open(by)),
    (control.APPROVALS_READ, lambda ops, by: ops.break_glass.get(by, "brg_none")),
    (control.BREAK_GLASS, lambda ops, by: ops.break_glass.close(by, "brg_none")),
    (control.BREAK_GLASS, lambda ops, by: ops.break_glass.open(by, 60_000, reason="a test")),
]


@pytest.mark.parametrize(("permission", "ask"), ASKED)
async def test_it_takes_its_permission_and_the_reach(desk: Desk, permission: str, ask: Ask) -> None:
    """One without the other is refused before anything is looked at."""
    for missing in (permission, control.ALL_PARTNERS):
        with pytest.raises(PermissionMissing) as refused:
            await ask(desk.ops, person("alice", without=(missing,)))
        assert refused.value.permission == missing


async def test_only_what_was_committed_has_a_receipt(desk: Desk) -> None:
    """The current revision has one though no node is there; the next one and none at all have not."""
    seen = await desk.ops.nodes.follow(person("alice"))
    assert (seen.revision, seen.nodes, seen.summary()) == (seen.latest, (), "0/0 nodes")
    assert (await desk.ops.nodes.follow(person("alice"), seen.latest - 1)).latest == seen.latest
    for revision in (seen.latest + 1, 0, -1):
        with pytest.raises(UnknownRevision):
            await desk.ops.nodes.follow(person("alice"), revision)
