"""What a command says at its end of how far its change has come: `revision 42 on 3/3 nodes, 180 ms`.

Invariant: the change is committed whatever is said here, so a node that is behind is told and is no failure.
"""

from typing import Final

from gateway import composition, settings, spread
from gateway.cli import output

# Twice what nodes need without a wake-up; whoever has not reported by then is named.
PATIENCE_MS: Final = 2_000


async def follow(
    store: composition.Store, configured: settings.Settings, revision: int | None = None
) -> spread.Spread:
    """Wait for this revision, or for the current one, to be on every live node."""
    return await spread.wait_for(
        store.engine, spread.lost_after_ms(configured), revision, timeout_ms=PATIENCE_MS
    )


def tell(seen: spread.Spread) -> None:
    """On stderr: it is not what was asked for."""
    if not seen.nodes:
        output.warn(f"revision {seen.revision}: no node is running")
        return
    output.warn(f"revision {seen.revision} on {seen.summary()}")
    for node in (*seen.those("behind"), *seen.those("lost")):
        output.warn(f"{node.state}: {node.id}, at revision {node.revision}, {describe_silence(node)}")


def describe_silence(node: spread.NodeView) -> str:
    return f"last seen {node.seen_ago_ms / 1000:.1f} s ago"
