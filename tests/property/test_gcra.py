"""The arithmetic of limits against a reference that replays every window, and Lua's against Python's."""

import math
import time
from collections.abc import Iterator
from fractions import Fraction
from importlib import resources
from itertools import accumulate

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policies import gcra
from policies.gcra import Limit

HOUR_US = 3_600_000_000
START = 1_763_596_800_123_456
STEPS = st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(1, 6)), max_size=40)


@st.composite
def limits(draw: st.DrawFn) -> Limit:
    per_us = draw(st.sampled_from([1_000, 250_000, 1_000_000, 60_000_000]) | st.integers(1, 10_000_000))
    rate = draw(st.integers(1, min(per_us, 1000)))
    return Limit(name="x", rate=rate, per_us=per_us, burst=draw(st.integers(1, 20)))


def passing(limit: Limit, steps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The charges that pass, as (when, cost)."""
    tat: int | None = None
    passed = []
    times = accumulate((gap for gap, _ in steps), initial=START)
    for now_us, (_, cost) in zip(list(times)[1:], steps, strict=True):
        verdict = gcra.admit(tat, now_us, limit, cost)
        tat = verdict.tat_us
        if verdict.allowed:
            passed.append((now_us, cost))
    return passed


@given(limits(), STEPS)
def test_no_window_ever_lets_more_pass_than_the_limit(limit: Limit, steps: list[tuple[int, int]]) -> None:
    """Over every window between two passing charges, of any length: at most burst + rate * window / per."""
    require_within(limit, passing(limit, steps))


def require_within(limit: Limit, passed: list[tuple[int, int]]) -> None:
    for first, (begins, _) in enumerate(passed):
        total = 0
        for ends, cost in passed[first:]:
            total += cost
            assert total <= limit.burst + Fraction(limit.rate * (ends - begins), limit.per_us)


@given(limits(), st.lists(st.tuples(st.integers(0, 2), st.integers(1, 20)), min_size=20, max_size=60))
def test_coming_back_the_moment_it_is_possible_gains_nothing(
    limit: Limit, steps: list[tuple[int, int]]
) -> None:
    """The greediest caller, who waits exactly as told, stays within the limit over every window."""
    tat: int | None = None
    now_us = START
    passed = []
    for gap, cost in steps:
        now_us += gap + gcra.admit(tat, now_us + gap, limit, cost).retry_after_us
        verdict = gcra.admit(tat, now_us, limit, cost)
        tat = verdict.tat_us
        if verdict.allowed:
            passed.append((now_us, cost))
    require_within(limit, passed)


@given(limits(), STEPS)
def test_nothing_is_refused_that_every_window_would_have_room_for(
    limit: Limit, steps: list[tuple[int, int]]
) -> None:
    """The slow reference looks through all windows that end now; the one number decides the same."""
    passed: list[tuple[int, int]] = []
    times = accumulate((gap for gap, _ in steps), initial=START)
    for now_us, (_, cost) in zip(list(times)[1:], steps, strict=True):
        if has_room(limit, passed, now_us, cost):
            passed.append((now_us, cost))
    assert passing(limit, steps) == passed


def has_room(limit: Limit, passed: list[tuple[int, int]], now_us: int, cost: int) -> bool:
    total = cost
    if total > limit.burst:
        return False
    for begins, earlier in reversed(passed):
        total += earlier
        if total * limit.emission_us > limit.tolerance_us + (now_us - begins):
            return False
    return True


@given(limits(), st.integers(-(10**8), 10**8), st.integers(1, 30))
def test_waiting_as_told_is_enough_and_no_less_is(limit: Limit, ahead: int, cost: int) -> None:
    """For any bucket, whatever the clock did to it."""
    verdict = gcra.admit(START + ahead, START, limit, cost)
    assert verdict.allowed == (verdict.retry_after_us == 0)
    assert 0 <= verdict.remaining <= limit.burst
    assert 0 <= verdict.reset_us <= limit.tolerance_us
    if not verdict.allowed and cost <= limit.burst:
        booked = verdict.reset_us
        later = START + verdict.retry_after_us
        assert gcra.admit(START + booked, later, limit, cost).allowed
        assert not gcra.admit(START + booked, later - 1, limit, cost).allowed


@st.composite
def charged(draw: st.DrawFn) -> tuple[Limit, int | None, int]:
    """A limit, how far ahead its bucket is booked, and a cost: often just what fits, or a microsecond more."""
    limit = draw(limits())
    cost = draw(st.integers(1, 30))
    brim = limit.tolerance_us - cost * limit.emission_us
    near = st.sampled_from([brim - 1, brim, brim + 1, limit.tolerance_us, 0, 1, -1])
    anywhere = st.integers(-(10**7), 10**7) | st.integers(-(10**14), 10**14)
    return limit, draw(st.none() | near | anywhere), cost


# What differs from the real script: the time comes from a key, so that Python can be told the same time.
SOON_US = 30_000_000
CLOCK = "redis.call('TIME')"
SET_CLOCK = "{redis.call('GET', 'seconds'), redis.call('GET', 'microseconds')}"


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def scripted() -> str:
    body = resources.files("auth.admission").joinpath("admit.lua").read_text()
    assert body.count(CLOCK) == 1
    return body.replace(CLOCK, SET_CLOCK)


def set_clock(client: redis.Redis, now_us: int) -> None:
    client.flushdb()
    client.mset({"seconds": now_us // 10**6, "microseconds": now_us % 10**6})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(
    st.lists(charged(), min_size=1, max_size=4),
    st.integers(1, 4 * 10**15),
)
def test_lua_counts_as_python_does(
    client: redis.Redis, buckets: list[tuple[Limit, int | None, int]], now_us: int
) -> None:
    """Same verdict, same numbers, same stored times to the microsecond, for any clock up to the year 2096."""
    set_clock(client, now_us)
    keys = [f"bucket-{index}" for index in range(len(buckets))]
    tats = [None if ahead is None else now_us + ahead for _, ahead, _ in buckets]
    client.mset({key: tat for key, tat in zip(keys, tats, strict=True) if tat is not None} or {"none": 0})

    arguments = [
        number for limit, _, cost in buckets for number in (limit.tolerance_us, cost * limit.emission_us)
    ]
    script = scripted()
    answer = client.eval(script, len(keys), *keys, 1000, 0, 2 * len(buckets), *arguments)

    verdicts = [
        gcra.admit(tat, now_us, limit, cost) for tat, (limit, _, cost) in zip(tats, buckets, strict=True)
    ]
    allowed = all(verdict.allowed for verdict in verdicts)
    booked = [
        verdict.reset_us if allowed else gcra.booked_us(tat, now_us, limit)
        for verdict, tat, (limit, _, _) in zip(verdicts, tats, buckets, strict=True)
    ]
    assert answer == [0 if allowed else 2, *booked]
    for key, verdict, tat, (limit, _, _) in zip(keys, verdicts, tats, buckets, strict=True):
        # A refusal leaves what is booked, but for what is more than the bucket holds.
        overbooked = tat is not None and tat > now_us + limit.tolerance_us
        written = allowed or overbooked
        stored = client.get(key)
        if stored is None and written and verdict.reset_us < SOON_US:
            continue  # drained, and so expired, before it was looked at
        assert (None if stored is None else int(stored)) == (verdict.tat_us if written else tat)
        if written:
            assert client.pttl(key) <= math.ceil(verdict.reset_us / 1000)


# Few enough of each that the admissions of one batch meet in buckets and in nonces.
LIMITS = [
    Limit(name="one", rate=1, per_us=HOUR_US, burst=1),
    Limit(name="three", rate=3, per_us=HOUR_US, burst=3),
    Limit(name="seven", rate=7, per_us=HOUR_US, burst=7),
]
BATCHES = st.lists(
    st.tuples(
        st.none() | st.sampled_from(["a", "b", "c"]),
        st.lists(st.sampled_from(range(3)), unique=True),
        st.integers(1, 4),
    ),
    min_size=1,
    max_size=12,
)


class Reference:
    """Admissions one after the other, by policies/gcra.py and a set of nonces."""

    def __init__(self, now_us: int) -> None:
        self.now_us = now_us
        self.taken: set[str] = set()
        self.tats: dict[int, int] = {}

    def admit(self, nonce: str | None, buckets: list[int], cost: int) -> list[int]:
        if nonce is not None and nonce in self.taken:
            return [1]
        if nonce is not None:
            self.taken.add(nonce)
        verdicts = [gcra.admit(self.tats.get(each), self.now_us, LIMITS[each], cost) for each in buckets]
        if all(verdict.allowed for verdict in verdicts):
            self.tats.update((each, verdict.tat_us) for each, verdict in zip(buckets, verdicts, strict=True))
            return [0, *(verdict.reset_us for verdict in verdicts)]
        return [2, *(gcra.booked_us(self.tats.get(each), self.now_us, LIMITS[each]) for each in buckets)]


def packed(batch: list[tuple[str | None, list[int], int]]) -> tuple[list[str], list[int]]:
    nonces = [f"nonce-{nonce}" for nonce, _, _ in batch if nonce is not None]
    keys = [*nonces, *(f"bucket-{each}" for _, buckets, _ in batch for each in buckets)]
    arguments = [60_000, len(nonces)]
    for nonce, buckets, cost in batch:
        arguments.append(2 * len(buckets) + (nonce is not None))
        for each in buckets:
            arguments += (LIMITS[each].tolerance_us, cost * LIMITS[each].emission_us)
    return keys, arguments


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.lists(BATCHES, min_size=1, max_size=3))
def test_a_batch_counts_as_its_admissions_one_after_the_other(
    client: redis.Redis, batches: list[list[tuple[str | None, list[int], int]]]
) -> None:
    """Those that share a bucket add up, a replay charges nothing, and who is limited has spent the nonce."""
    # The store's own clock: what the script writes must not have expired before the next batch.
    now_us = int(time.time()) * 10**6
    reference, script = Reference(now_us), scripted()
    set_clock(client, now_us)
    for batch in batches:
        keys, arguments = packed(batch)
        answer = client.eval(script, len(keys), *keys, *arguments)
        assert answer == [number for asked in batch for number in reference.admit(*asked)]
        stored = {each: client.get(f"bucket-{each}") for each in range(3)}
        assert {each: int(tat) for each, tat in stored.items() if tat is not None} == reference.tats
        assert {nonce for nonce in "abc" if client.exists(f"nonce-{nonce}")} == reference.taken
