"""The nodes, and how far a change has come: `3/3 nodes, 240 ms`.

Invariant: told is what the nodes say of themselves. It changes without anything being changed, so it has no `ETag`.
"""

from __future__ import annotations

from typing import Any, Final

from litestar import Controller
from msgspec import Struct

from gateway import spread
from gateway.api.control import types
from gateway.api.control.call import Call, Reply
from gateway.api.control.endpoint import endpoint
from gateway.api.control.rules import PREFIX, Rule
from gateway.problems import Refusal
from policies import control

TAG: Final = "nodes"

_MOST_DIGITS: Final = 15


class Node(Struct, frozen=True, kw_only=True):
    """`latency_ms`: from the change to serving it; null for what it found at its start, or has since passed.

    `incomplete`: how much of its revision it does not have whole. `seen_ago_ms`: for how long it has said nothing.
    """

    id: str
    host: str
    version: str
    surfaces: tuple[str, ...]
    state: spread.NodeState
    revision: int
    incomplete: int
    latency_ms: int | None
    started_at: types.Moment
    seen_at: types.Moment
    seen_ago_ms: int


class NodeList(Struct, frozen=True, kw_only=True):
    """Every node before the current revision. `live` counts those that are not lost. `next` is always null."""

    revision: int
    summary: str
    serving: int
    live: int
    latency_ms: int | None
    everywhere: bool
    items: tuple[Node, ...]
    next: str | None = None


class Receipt(Struct, frozen=True, kw_only=True):
    """How far one revision has come. `latency_ms`: of the slowest node that can say.

    `everywhere`: on every node that lives. `incomplete`, `behind` and `lost` name the nodes that are. `latest`: the
    revision that is current now.
    """

    revision: int
    latest: int
    summary: str
    serving: int
    live: int
    latency_ms: int | None
    everywhere: bool
    incomplete: tuple[str, ...]
    behind: tuple[str, ...]
    lost: tuple[str, ...]


_SAMPLE_NODE: Final = Node(
    id="gate-1:4711:9f3ab2c4",
    host="gate-1",
    version="0.1.0",
    surfaces=("edge", "oauth"),
    state="serving",
    revision=42,
    incomplete=0,
    latency_ms=240,
    started_at=1_763_596_800_000,
    seen_at=1_763_596_900_000,
    seen_ago_ms=310,
)
_SAMPLE_LIST: Final = NodeList(
    revision=42,
    summary="1/1 nodes, 240 ms",
    serving=1,
    live=1,
    latency_ms=240,
    everywhere=True,
    items=(_SAMPLE_NODE,),
)
_SAMPLE_RECEIPT: Final = Receipt(
    revision=42,
    latest=42,
    summary="3/3 nodes, 240 ms",
    serving=3,
    live=3,
    latency_ms=240,
    everywhere=True,
    incomplete=(),
    behind=(),
    lost=(),
)


class NodeController(Controller):
    path = PREFIX

    @endpoint(
        Rule(
            id="list_nodes",
            method="GET",
            path="/nodes",
            tag=TAG,
            summary="List the nodes, and which revision each serves",
            permission=control.NODES_READ,
            reach="all",
            answer=NodeList,
            sample=_SAMPLE_LIST,
        )
    )
    async def list_nodes(self, call: Call) -> Reply:
        seen = await call.operations.nodes.follow(call.operator)
        told = _told(seen, NodeList)
        return Reply(NodeList(**told, items=tuple(_view(node) for node in seen.nodes)))

    @endpoint(
        Rule(
            id="get_receipt",
            method="GET",
            path="/revisions/{revision}",
            tag=TAG,
            summary="See how far a change has come",
            description="The revision of a change stands in Portreeve-Revision of its answer.",
            permission=control.NODES_READ,
            reach="all",
            answer=Receipt,
            tagged=False,
            sample=_SAMPLE_RECEIPT,
        )
    )
    async def get_receipt(self, call: Call) -> Reply:
        seen = await call.operations.nodes.follow(call.operator, _parse(call.parameters["revision"]))
        return Reply(Receipt(**_told(seen, Receipt), latest=seen.latest))


def _parse(text: str) -> int:
    """What is no number that a revision could have is no revision; one spelling each."""
    if not (text.isascii() and text.isdigit()) or len(text) > _MOST_DIGITS or text != str(int(text)):
        raise Refusal("not_found", "There is no such revision.")
    return int(text)


def _told(seen: spread.Spread, kind: type[Struct]) -> dict[str, Any]:
    """What the command line's `--json` says, as far as this answer has a place for it."""
    told = {**spread.view(seen), "summary": seen.summary()}
    return {name: value for name, value in told.items() if name in kind.__struct_fields__}


def _view(node: spread.NodeView) -> Node:
    return Node(**{name: getattr(node, name) for name in Node.__struct_fields__})
