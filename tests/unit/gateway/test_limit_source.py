"""The limit per source address: local, cheap, and bounded in memory."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.problems import Refusal
from gateway.sources import parse_source
from gateway.stages import limit_source
from gateway.stages.limit_source import LimitSource
from policies import gcra
from policies.gcra import Limit

LIMIT = Limit(name="source", rate=1, per_us=1_000_000, burst=2)


class Clock:
    now_ms = 0

    def __call__(self) -> int:
        return self.now_ms * 1_000_000


def at(stage: LimitSource, now_ms: int, address: str) -> None:
    """One request from an address at a time."""
    clock = stage._clock_ns
    assert isinstance(clock, Clock)
    clock.now_ms = now_ms
    stage(parse_source(address))


def limiter() -> LimitSource:
    return LimitSource(LIMIT, Clock())


def test_an_address_may_ask_as_often_as_its_limit_says() -> None:
    """Then it waits for exactly one interval."""
    stage, address = limiter(), "203.0.113.9"
    at(stage, 0, address)
    at(stage, 0, address)
    with pytest.raises(Refusal) as refused:
        at(stage, 999, address)
    assert refused.value.problem.kind.code == "rate_limited"
    assert dict(refused.value.problem.headers)[b"retry-after"] == b"1"
    at(stage, 1000, address)


def test_addresses_do_not_share_a_limit() -> None:
    """One noisy neighbour costs nobody else anything."""
    stage = limiter()
    for last in range(10):
        at(stage, 0, f"203.0.113.{last}")
        at(stage, 0, f"203.0.113.{last}")


def test_an_ipv6_source_is_its_64_bit_prefix() -> None:
    """One host holds a whole /64: counting addresses would count nothing."""
    stage = limiter()
    at(stage, 0, "2001:db8::1")
    at(stage, 0, "2001:db8::2")
    with pytest.raises(Refusal):
        at(stage, 0, "2001:db8::3")
    at(stage, 0, "2001:db8:0:1::1")


def test_a_low_ipv6_prefix_is_not_taken_for_an_ipv4_address() -> None:
    """The two families have numbers of their own."""
    stage = limiter()
    for _ in range(2):
        at(stage, 0, "0.0.0.1")
        at(stage, 0, "0:0:0:1::")


def test_memory_stays_bounded_whatever_addresses_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle sources are forgotten, and under a flood the oldest are."""
    monkeypatch.setattr(limit_source, "MAX_SOURCES", 100)
    stage = limiter()
    for number in range(1000):
        at(stage, 0, str(ip_address(number)))
    assert len(stage._booked_until) <= 100


def test_forgetting_idle_sources_keeps_those_in_debt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full table is no way out of a limit."""
    monkeypatch.setattr(limit_source, "MAX_SOURCES", 100)
    stage, noisy = limiter(), "203.0.113.9"
    for number in range(99):
        at(stage, 0, str(ip_address(number)))
    at(stage, 1500, noisy)
    at(stage, 1500, noisy)
    at(stage, 1500, "203.0.113.10")
    with pytest.raises(Refusal):
        at(stage, 1500, noisy)


@given(
    st.builds(
        Limit,
        name=st.just("source"),
        rate=st.integers(1, 50),
        per_us=st.just(1_000_000),
        burst=st.integers(1, 5),
    ),
    st.lists(st.integers(0, 400), max_size=40),
)
def test_it_counts_as_every_limit_is_counted(limit: Limit, pauses_ms: list[int]) -> None:
    """The arithmetic is written out here, and is that of `policies.gcra` to the microsecond."""
    stage, tat_us, now_ms = LimitSource(limit, Clock()), None, 0
    for pause_ms in pauses_ms:
        now_ms += pause_ms
        verdict = gcra.admit(tat_us, now_ms * 1000, limit, 1)
        if verdict.allowed:
            at(stage, now_ms, "203.0.113.9")
        else:
            with pytest.raises(Refusal) as refused:
                at(stage, now_ms, "203.0.113.9")
            wait_s = max(1, -(-(verdict.retry_after_us // 1000) // 1000))
            assert dict(refused.value.problem.headers)[b"retry-after"] == b"%d" % wait_s
        tat_us = verdict.tat_us
        assert stage._booked_until["203.0.113.9"] // 1000 == tat_us or not verdict.allowed
