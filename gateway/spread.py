"""How far a revision has come: which nodes serve it, how long that took, and who is behind.

Invariant: read from the nodes' own receipts, all of it by the store's clock; a node counts as serving a revision only
when it said so itself. A node that has said nothing for a while is lost: it may be gone, or cut off from the store and
still serving what it had, up to the staleness bound. So the lost are counted apart and always named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway import clocks
from gateway.settings import Settings
from storage import engine, nodes

NodeState = Literal["serving", "incomplete", "behind", "lost"]

_HEARTBEATS_TO_BE_LOST: Final = 5
_LOOK_AGAIN_S: Final = 0.02
_SETTLED_WITHIN_MS: Final = 300

Sleep = Callable[[float], Awaitable[None]]


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """One node before one revision. `latency_ms`: from the change to serving it; None where that can't be said.

    It cannot of what a node found at its start, nor of a revision that it has since passed.
    """

    id: str
    host: str
    version: str
    surfaces: tuple[str, ...]
    state: NodeState
    revision: int
    incomplete: int
    latency_ms: int | None
    started_at: int
    seen_at: int
    seen_ago_ms: int

    @property
    def serves(self) -> bool:
        return self.state in {"serving", "incomplete"}


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """`latest`: the revision that was current when the nodes were looked at."""

    revision: int
    latest: int
    nodes: tuple[NodeView, ...]

    @property
    def live(self) -> int:
        return len(self.nodes) - len(self.those("lost"))

    @property
    def serving(self) -> int:
        return sum(node.serves for node in self.nodes)

    @property
    def latency_ms(self) -> int | None:
        """Of the slowest that can be said."""
        told = [node.latency_ms for node in self.nodes if node.serves and node.latency_ms is not None]
        return max(told, default=None)

    @property
    def is_everywhere(self) -> bool:
        """On every node that lives. True as well where none does."""
        return self.serving == self.live

    def those(self, state: NodeState) -> tuple[NodeView, ...]:
        return tuple(node for node in self.nodes if node.state == state)

    def summary(self) -> str:
        """`3/3 nodes, 240 ms`, and whatever else has to be known beside it."""
        took = "" if self.latency_ms is None else f", {self.latency_ms} ms"
        noted = [f"{len(self.those(state))} {state}" for state in _NOTED if self.those(state)]
        return f"{self.serving}/{self.live} nodes{took}" + "".join(f", {each}" for each in noted)


_NOTED: Final[tuple[NodeState, ...]] = ("incomplete", "behind", "lost")


def lost_after_ms(settings: Settings) -> int:
    return _HEARTBEATS_TO_BE_LOST * settings.keys.heartbeat_ms


def judge(roll: nodes.Roll, lost_after: int, revision: int | None = None) -> Spread:
    """Of this revision, or of the current one."""
    wanted = roll.latest.value if revision is None else revision
    return Spread(
        revision=wanted,
        latest=roll.latest.value,
        nodes=tuple(_judge(node, roll.at, lost_after, wanted) for node in roll.nodes),
    )


async def read(engine_: AsyncEngine, lost_after: int, revision: int | None = None) -> Spread:
    async with engine.reading(engine_) as conn:
        return judge(await nodes.read(conn), lost_after, revision)


async def wait_for(  # noqa: PLR0913  what to wait for, for how long, and by what clock
    engine_: AsyncEngine,
    lost_after: int,
    revision: int | None = None,
    *,
    timeout_ms: int,
    clock: Callable[[], int] = clocks.monotonic_ms,
    sleep: Sleep = asyncio.sleep,
) -> Spread:
    """Until every live node serves it, or the time is over: `is_everywhere` tells which. None: what is current now."""
    deadline, settling = clock() + timeout_ms, False
    seen = await read(engine_, lost_after, revision)
    while not (seen.is_everywhere and not seen.those("incomplete")) and clock() < deadline:
        if seen.is_everywhere and not settling:
            # It is served; what follows a change takes a moment more, and may be broken for other reasons.
            settling, deadline = True, min(deadline, clock() + _SETTLED_WITHIN_MS)
        await sleep(_LOOK_AGAIN_S)
        seen = await read(engine_, lost_after, seen.revision)
    return seen


def view(seen: Spread) -> dict[str, Any]:
    """For scripts and for the control API: the same members everywhere."""
    return {
        "revision": seen.revision,
        "serving": seen.serving,
        "live": seen.live,
        "latency_ms": seen.latency_ms,
        "everywhere": seen.is_everywhere,
        **{state: [node.id for node in seen.those(state)] for state in _NOTED},
    }


def _judge(node: nodes.Node, at: int, lost_after: int, wanted: int) -> NodeView:
    return NodeView(
        id=node.id,
        host=node.host,
        version=node.version,
        surfaces=node.surfaces,
        state=_state(node, at, lost_after, wanted),
        revision=node.revision,
        incomplete=node.incomplete,
        latency_ms=_latency(node, wanted),
        started_at=node.started_at,
        seen_at=node.seen_at,
        seen_ago_ms=max(0, at - node.seen_at),
    )


def _state(node: nodes.Node, at: int, lost_after: int, wanted: int) -> NodeState:
    if at - node.seen_at > lost_after:
        return "lost"
    if node.revision < wanted:
        return "behind"
    return "incomplete" if node.incomplete else "serving"


def _latency(node: nodes.Node, wanted: int) -> int | None:
    if node.committed_at is None or node.revision != wanted:
        return None
    return max(0, node.applied_at - node.committed_at)
