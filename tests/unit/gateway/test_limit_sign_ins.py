"""What may try passwords at a node at all: a source's share, and everybody's together."""

from __future__ import annotations

import pytest

from gateway.problems import Refusal
from gateway.sources import parse_source
from gateway.stages.limit_sign_ins import OF_NODE_A_SECOND, OF_NODE_AT_ONCE, OF_SOURCE, PATH, LimitSignIns


class Clock:
    def __init__(self) -> None:
        self.now_ns = 5_000_000_000

    def __call__(self) -> int:
        return self.now_ns


def tries(limit: LimitSignIns, *, times: int, address: str | None = None, first: int = 0) -> list[str]:
    """What became of each: from one address, or from as many as there are tries."""
    told = []
    for number in range(first, first + times):
        source = parse_source(address or f"198.51.{number // 250}.{number % 250}")
        try:
            limit("POST", PATH, source)
        except Refusal as refused:
            told.append(refused.problem.kind.code)
        else:
            told.append("taken")
    return told


def test_one_source_has_a_share_and_leaves_the_rest() -> None:
    """However much it sends: others still get in."""
    limit = LimitSignIns(Clock())
    assert tries(limit, times=1_000, address="203.0.113.1").count("taken") == OF_SOURCE.burst
    assert tries(limit, times=OF_NODE_AT_ONCE - OF_SOURCE.burst) == ["taken"] * 20


def test_all_sources_together_are_bounded() -> None:
    """A thousand addresses are no more than one node can bear, and room comes back by and by."""
    clock = Clock()
    limit = LimitSignIns(clock)
    told = tries(limit, times=1_000)
    assert told == ["taken"] * OF_NODE_AT_ONCE + ["overloaded"] * (1_000 - OF_NODE_AT_ONCE)
    clock.now_ns += 1_000_000_000
    assert tries(limit, times=100, first=2_000).count("taken") == OF_NODE_A_SECOND


@pytest.mark.parametrize(
    ("method", "path"), [("GET", PATH), ("POST", "/oauth/token"), ("POST", PATH + "/second")]
)
def test_nothing_else_is_counted(method: str, path: str) -> None:
    """To look at the form costs no try; what comes after a password needs one first."""
    limit = LimitSignIns(Clock())
    for _ in range(200):
        limit(method, path, parse_source("203.0.113.1"))
    assert tries(limit, times=1) == ["taken"]
