"""What a command says at its end of how far its change has come: `revision 42 on 3/3 nodes, 180 ms`.

Invariant: the change is committed whatever is said here, so a node that is behind is told and is no failure.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from gateway import composition, operations, settings, spread
from gateway.cli import context, output

# Twice what nodes need without a wake-up; whoever has not reported by then is named.
PATIENCE_MS: Final = 2_000

Made = TypeVar("Made")


def operate(
    action: Callable[[operations.Operations, operations.Operator], Awaitable[Made]],
) -> tuple[Made, spread.Spread]:
    """Run one operation, and see its change through to the nodes: for what has to stop, or go on, now."""

    async def run(store: composition.Store, configured: settings.Settings) -> tuple[Made, spread.Spread]:
        made = await action(composition.build_operations(store, configured), context.operator())
        return made, await follow(store, configured)

    return context.act(run)


async def follow(
    store: composition.Store, configured: settings.Settings, revision: int | None = None
) -> spread.Spread:
    """Wait for this revision, or for the current one, to be on every live node."""
    return await spread.wait_for(
        store.engine, spread.lost_after_ms(configured), revision, timeout_ms=PATIENCE_MS
    )


def view(seen: spread.Spread | None) -> dict[str, Any]:
    """The member that `--json` has of it; none where nothing was changed."""
    return {} if seen is None else {"spread": spread.view(seen)}


def tell(seen: spread.Spread | None) -> None:
    """On stderr: it is not what was asked for."""
    if seen is None:
        return
    if not seen.nodes:
        output.warn(f"revision {seen.revision}: no node is running")
        return
    output.warn(f"revision {seen.revision} on {seen.summary()}")
    for node in (*seen.those("behind"), *seen.those("lost")):
        output.warn(f"{node.state}: {node.id}, at revision {node.revision}, {describe_silence(node)}")


def describe_silence(node: spread.NodeView) -> str:
    return f"last seen {node.seen_ago_ms / 1000:.1f} s ago"
