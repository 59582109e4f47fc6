import tracemalloc

import pytest

from auth.admission import (
    Bucket,
    LimiterUnavailable,
    RateLimited,
    Replayed,
    ReplayStoreUnavailable,
    compile_charges,
    nonces,
)
from auth.admission.buckets import LocalBuckets
from auth.admission.memory import MemoryAdmission
from auth.admission.nonces import TakenNonces
from policies.gcra import Limit
from tests.support.admissions import admission

LIFETIME_US = 122_000_000
PER_SECOND = Limit(name="second", rate=1, per_us=1_000_000, burst=1)


class Clock:
    def __init__(self) -> None:
        self.now_us = 5_000_000

    def __call__(self) -> int:
        return self.now_us


@pytest.fixture
def clock() -> Clock:
    return Clock()


def nonce(number: int) -> bytes:
    return nonces.digest(b"acme\0key:", b"%d" % number)


@pytest.mark.parametrize("taken_at", [0, 1, LIFETIME_US // 2, LIFETIME_US - 1])
def test_a_nonce_stays_taken_for_its_whole_lifetime(taken_at: int) -> None:
    """Wherever in a generation it was taken, and however busy the time between."""
    taken = TakenNonces(LIFETIME_US, 1000)
    taken.take("acme", nonce(0), 0)
    taken.take("acme", nonce(1), taken_at)
    for step in range(1, 11):
        now_us = taken_at + LIFETIME_US * step // 10 - 1
        taken.take("acme", nonce(100 + step), now_us)
        with pytest.raises(Replayed):
            taken.take("acme", nonce(1), now_us)


@pytest.mark.parametrize("idle", [1, 2, 5])
def test_a_nonce_taken_before_a_quiet_time_is_gone_after_two_lifetimes(idle: int) -> None:
    """Memory is given back, also when nobody came for long."""
    taken = TakenNonces(LIFETIME_US, 1000)
    for number in range(10):
        taken.take("acme", nonce(number), number)
    for step in range(1, 3):
        taken.take("acme", nonce(100 * step), step * idle * LIFETIME_US)
    assert len(taken) <= 2


def test_with_no_room_left_no_nonce_can_be_taken() -> None:
    """It fails closed: nothing is forgotten early to make room, and known nonces are still known."""
    taken = TakenNonces(LIFETIME_US, 3)
    for number in range(3):
        taken.take(f"partner-{number}", nonce(number), number)
    with pytest.raises(ReplayStoreUnavailable) as full:
        taken.take("acme", nonce(3), 10)
    assert full.value.reason == "full"
    with pytest.raises(Replayed):
        taken.take("acme", nonce(0), 10)
    taken.take("acme", nonce(3), 3 * LIFETIME_US)


def test_one_slot_takes_half_of_the_room_whenever_it_took_it() -> None:
    """What it took in the generation before counts until that is gone; the others have the rest."""
    taken = TakenNonces(LIFETIME_US, 4)
    taken.take("acme", nonce(0), 0)
    taken.take("acme", nonce(1), LIFETIME_US)
    with pytest.raises(ReplayStoreUnavailable):
        taken.take("acme", nonce(2), LIFETIME_US)
    taken.take("beta", nonce(2), LIFETIME_US)
    taken.take("acme", nonce(3), 2 * LIFETIME_US)


def test_a_hundred_thousand_nonces_stay_small() -> None:
    """Less than fifteen megabytes, however long the nonces are."""
    taken = TakenNonces(LIFETIME_US, 200_000)
    tracemalloc.start()
    try:
        for number in range(100_000):
            taken.take("acme", nonces.digest(b"acme\0key:", b"%064d" % number), number)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(taken) == 100_000
    assert used < 15_000_000


def test_drained_buckets_make_room_for_new_ones() -> None:
    """A bucket that says nothing any more is forgotten."""
    buckets = LocalBuckets(max_buckets=10)
    for number in range(200):
        buckets.charge(compile_charges("acme", (Bucket(f"k:{number}", PER_SECOND, 1),)), number * 1_000_000)
        assert len(buckets) <= 10


def test_a_table_of_live_buckets_refuses_new_ones_and_serves_the_old() -> None:
    """Forgetting a live one would hand its whole burst out again."""
    buckets = LocalBuckets(max_buckets=10)
    for number in range(10):
        buckets.charge(compile_charges("acme", (Bucket(f"k:{number}", PER_SECOND, 1),)), 0)
    with pytest.raises(LimiterUnavailable):
        buckets.charge(compile_charges("acme", (Bucket("k:new", PER_SECOND, 1),)), 0)
    with pytest.raises(RateLimited):
        buckets.charge(compile_charges("acme", (Bucket("k:0", PER_SECOND, 1),)), 0)
    buckets.charge(compile_charges("acme", (Bucket("k:new", PER_SECOND, 1),)), 1_000_000)


def test_a_full_table_is_not_searched_for_every_stranger() -> None:
    """Being refused must not cost more than being served."""
    buckets = LocalBuckets(max_buckets=10)
    for number in range(10):
        buckets.charge(compile_charges("acme", (Bucket(f"k:{number}", PER_SECOND, 1),)), 0)
    searched = set()
    for number in range(50):
        with pytest.raises(LimiterUnavailable):
            buckets.charge(compile_charges("acme", (Bucket(f"x:{number}", PER_SECOND, 1),)), 10_000 * number)
        searched.add(id(buckets._tats))
    assert len(searched) <= 2


def test_a_table_grows_past_its_first_sweep() -> None:
    """Many live buckets below the bound are all kept."""
    buckets = LocalBuckets(max_buckets=5000)
    for number in range(5000):
        buckets.charge(compile_charges("acme", (Bucket(f"k:{number}", PER_SECOND, 1),)), 0)
    assert len(buckets) == 5000
    for number in range(0, 5000, 500):
        with pytest.raises(RateLimited):
            buckets.charge(compile_charges("acme", (Bucket(f"k:{number}", PER_SECOND, 1),)), 999_999)


async def test_time_lets_a_limited_request_pass_when_it_was_told(clock: Clock) -> None:
    """The wait that a refusal names is enough, and no shorter one is."""
    store = MemoryAdmission(clock, nonce_ttl_ms=122_000)
    asked = admission("acme", None, (Bucket("k:1", PER_SECOND, 1),))
    await store.admit(asked)
    with pytest.raises(RateLimited) as refused:
        await store.admit(asked)
    assert refused.value.retry_after_ms == 1000
    clock.now_us += 999_999
    with pytest.raises(RateLimited):
        await store.admit(asked)
    clock.now_us += 1
    await store.admit(asked)
    await store.aclose()


async def test_what_was_booked_under_a_slower_limit_is_no_debt_under_another(clock: Clock) -> None:
    """Whose tier is changed for a faster one waits as long as it is told, and no longer."""
    store = MemoryAdmission(clock, nonce_ttl_ms=122_000)
    hourly = Limit(name="slow", rate=1, per_us=3_600_000_000, burst=2)
    await store.admit(admission("acme", None, (Bucket("partner:paper", hourly, 2),)))
    faster = admission("acme", None, (Bucket("partner:paper", PER_SECOND, 1),))
    with pytest.raises(RateLimited) as refused:
        await store.admit(faster)
    clock.now_us += refused.value.retry_after_ms * 1000
    await store.admit(faster)
    await store.aclose()


async def test_a_full_store_of_nonces_refuses_through_admission(clock: Clock) -> None:
    """The embedded store fails closed like the shared one."""
    store = MemoryAdmission(clock, nonce_ttl_ms=122_000, max_nonces=2)
    await store.admit(admission("acme", "key:1", ()))
    with pytest.raises(ReplayStoreUnavailable):
        await store.admit(admission("acme", "key:2", ()))


def test_callers_who_are_not_known_leave_room_for_those_who_are() -> None:
    """However many addresses a stranger has, partners' limits can still be counted."""
    buckets = LocalBuckets(max_buckets=10)
    for number in range(5):
        buckets.charge(compile_charges(f"source:{number}", (Bucket("r", PER_SECOND, 1),)), 0, known=False)
    with pytest.raises(LimiterUnavailable):
        buckets.charge(compile_charges("source:5", (Bucket("r", PER_SECOND, 1),)), 0, known=False)
    buckets.charge(compile_charges("acme", (Bucket("r", PER_SECOND, 1),)), 0)
