"""Whoever acts without a second person is heard of on every node."""

from __future__ import annotations

from tests.support.gateway import Deployment, wait_until

BOUND_SECONDS = 10.0


def test_every_node_says_aloud_that_somebody_acts_alone(shared: Deployment) -> None:
    """Who, why and until when stands in each node's log, and again that it is over."""
    shared.command("break-glass", "open", "--for", "5m", "--reason", "a test of glass")

    def all_say(words: str) -> bool:
        return all(words in node.log_text() for node in shared.nodes)

    wait_until(lambda: all_say("acts without a second person"), BOUND_SECONDS, "an alarm on every node")
    assert all_say("a test of glass")
    shared.command("break-glass", "close")
    wait_until(lambda: all_say("is over"), BOUND_SECONDS, "the end of it on every node")
