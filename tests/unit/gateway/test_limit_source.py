"""The limit per source address: local, cheap, and bounded in memory."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from gateway.problems import Refusal
from gateway.stages import limit_source
from gateway.stages.limit_source import LimitSource
from policies.gcra import Limit

LIMIT = Limit(name="source", rate=1, per_us=1_000_000, burst=2)


def test_an_address_may_ask_as_often_as_its_limit_says() -> None:
    """Then it waits for exactly one interval."""
    stage, address = LimitSource(LIMIT), ip_address("203.0.113.9")
    stage.check(address, 0)
    stage.check(address, 0)
    with pytest.raises(Refusal) as refused:
        stage.check(address, 999)
    assert refused.value.problem.kind.code == "rate_limited"
    assert dict(refused.value.problem.headers)[b"retry-after"] == b"1"
    stage.check(address, 1000)


def test_addresses_do_not_share_a_limit() -> None:
    """One noisy neighbour costs nobody else anything."""
    stage = LimitSource(LIMIT)
    for last in range(10):
        stage.check(ip_address(f"203.0.113.{last}"), 0)
        stage.check(ip_address(f"203.0.113.{last}"), 0)


def test_an_ipv6_source_is_its_64_bit_prefix() -> None:
    """One host holds a whole /64: counting addresses would count nothing."""
    stage = LimitSource(LIMIT)
    stage.check(ip_address("2001:db8::1"), 0)
    stage.check(ip_address("2001:db8::2"), 0)
    with pytest.raises(Refusal):
        stage.check(ip_address("2001:db8::3"), 0)
    stage.check(ip_address("2001:db8:0:1::1"), 0)


def test_a_low_ipv6_prefix_is_not_taken_for_an_ipv4_address() -> None:
    """The two families have numbers of their own."""
    stage = LimitSource(LIMIT)
    for _ in range(2):
        stage.check(ip_address("0.0.0.1"), 0)
        stage.check(ip_address("0:0:0:1::"), 0)


def test_memory_stays_bounded_whatever_addresses_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle sources are forgotten, and under a flood the oldest are."""
    monkeypatch.setattr(limit_source, "MAX_SOURCES", 100)
    stage = LimitSource(LIMIT)
    for number in range(1000):
        stage.check(ip_address(number), 0)
    assert len(stage._arrivals) <= 100


def test_forgetting_idle_sources_keeps_those_in_debt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full table is no way out of a limit."""
    monkeypatch.setattr(limit_source, "MAX_SOURCES", 100)
    stage, noisy = LimitSource(LIMIT), ip_address("203.0.113.9")
    for number in range(99):
        stage.check(ip_address(number), 0)
    stage.check(noisy, 1500)
    stage.check(noisy, 1500)
    stage.check(ip_address("203.0.113.10"), 1500)
    with pytest.raises(Refusal):
        stage.check(noisy, 1500)
