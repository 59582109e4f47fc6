"""What is due of which secrets: pure, by a clock that only the tests turn."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from keys import due, rotation
from keys.due import Action
from keys.held import HeldSecret
from keys.records import SecretVersion
from keys.schedules import DAY_MS, DEFAULTS, HOUR_MS, Schedules

SCHEDULES = Schedules()
ACTIVE = SecretVersion(version=1, state="active", created_at=0, activated_at=0)
KEY = HeldSecret(
    id="prk_1", kind="api-key", environment="live", partner="acme", label="desk", created_at=0, versions=(ACTIVE,)
)  # fmt: skip
RING = HeldSecret(id="ring_identity", kind="ring", environment="service", created_at=0, versions=(ACTIVE,))
ROTATED = (
    replace(ACTIVE, state="retiring", retiring_at=DAY_MS, retires_at=8 * DAY_MS),
    SecretVersion(version=2, state="active", created_at=DAY_MS, activated_at=DAY_MS),
)


def steps(secret: HeldSecret, now_ms: int) -> list[tuple[str, int, int]]:
    return [(each.step, each.version, each.at) for each in due.due((secret,), SCHEDULES, now_ms)]


def test_a_young_secret_has_nothing_due() -> None:
    """Neither at its birth nor the moment before its first warning."""
    assert steps(KEY, 0) == []
    assert steps(KEY, 76 * DAY_MS - 1) == []


def test_an_aging_secret_is_warned_of_once_a_threshold() -> None:
    """Two weeks, three days and a day before; what was told is not told again."""
    assert steps(KEY, 76 * DAY_MS) == [("warn", 1, 76 * DAY_MS)]
    told = replace(KEY, warned_at=76 * DAY_MS)
    assert steps(told, 87 * DAY_MS - 1) == []
    assert steps(told, 87 * DAY_MS) == [("warn", 1, 87 * DAY_MS)]
    assert steps(replace(KEY, warned_at=87 * DAY_MS), 89 * DAY_MS) == [("warn", 1, 89 * DAY_MS)]
    assert steps(replace(KEY, warned_at=89 * DAY_MS), 500 * DAY_MS) == []


def test_thresholds_that_were_slept_through_are_told_as_one() -> None:
    """After an outage of a month one warning says it, even past the age."""
    assert steps(KEY, 120 * DAY_MS) == [("warn", 1, 76 * DAY_MS)]
    assert steps(replace(KEY, warned_at=120 * DAY_MS), 121 * DAY_MS) == []


def test_a_prepared_successor_ends_the_warnings_of_age() -> None:
    """Whoever has begun to rotate needs no reminder."""
    pending = SecretVersion(version=2, state="pending", created_at=1)
    assert steps(replace(KEY, versions=(ACTIVE, pending)), 120 * DAY_MS) == []


def test_the_end_of_a_key_is_warned_of() -> None:
    """With what ends and when; and no more once it has ended."""
    ending = replace(KEY, expires_at=30 * DAY_MS)
    found = due.due((ending,), SCHEDULES, 16 * DAY_MS)
    assert [(each.ending, each.ends_at, each.partner) for each in found] == [("expiry", 30 * DAY_MS, "acme")]
    assert due.due((ending,), SCHEDULES, 30 * DAY_MS) == ()


def test_an_overlap_is_warned_of_while_the_old_version_is_used() -> None:
    """A partner who has moved hears nothing; a threshold longer than the overlap says nothing."""
    moved = replace(KEY, versions=ROTATED)
    assert steps(moved, 7 * DAY_MS) == []
    old = replace(ROTATED[0], last_used_at=2 * DAY_MS, last_used_source="203.0.113.9", use_count=3)
    behind = replace(KEY, versions=(old, ROTATED[1]))
    assert steps(behind, 5 * DAY_MS - 1) == []
    found = due.due((behind,), SCHEDULES, 5 * DAY_MS)
    assert [(each.step, each.version, each.ending) for each in found] == [("warn", 1, "overlap")]
    assert (found[0].last_used_source, found[0].use_count) == ("203.0.113.9", 3)


def test_an_overlap_ends_at_its_time() -> None:
    """Not before, and not by a millisecond after."""
    rotated = replace(KEY, versions=ROTATED)
    assert steps(rotated, 8 * DAY_MS - 1) == []
    assert steps(rotated, 8 * DAY_MS) == [("retire", 1, 8 * DAY_MS)]


def test_what_was_prepared_is_activated_at_its_time() -> None:
    """One without a time waits for a person."""
    pending = SecretVersion(version=2, state="pending", created_at=1, activates_at=DAY_MS)
    prepared = replace(KEY, versions=(ACTIVE, pending))
    assert steps(prepared, DAY_MS - 1) == []
    assert steps(prepared, DAY_MS) == [("activate", 2, DAY_MS)]
    waiting = replace(KEY, versions=(ACTIVE, replace(pending, activates_at=None)))
    assert steps(waiting, 60 * DAY_MS) == []


def test_what_was_revoked_is_destroyed_after_its_grace() -> None:
    """Also of a secret of which nothing lives any more."""
    revoked = replace(ACTIVE, state="revoked", revoked_at=DAY_MS)
    ended = replace(KEY, versions=(revoked,))
    assert steps(ended, 31 * DAY_MS - 1) == []
    assert steps(ended, 31 * DAY_MS) == [("destroy", 1, 31 * DAY_MS)]
    assert steps(replace(KEY, versions=(replace(revoked, state="destroyed"),)), 99 * DAY_MS) == []


def test_only_what_needs_nobody_is_rotated() -> None:
    """A ring's next key is announced ahead, so that it has served when the old one reaches its age."""
    before = 30 * DAY_MS - HOUR_MS
    assert steps(RING, before - 1) == []
    assert steps(RING, before) == [("announce", 2, before)]
    assert "rotate" not in {step for step, _, _ in steps(KEY, 500 * DAY_MS)}
    session = replace(RING, kind="session")
    assert steps(session, 30 * DAY_MS) == [("rotate", 2, 30 * DAY_MS)]


def plan(secret: HeldSecret, until_ms: int, now_ms: int = 0) -> list[tuple[str, int, int]]:
    found = due.plan((secret,), SCHEDULES, now_ms, until_ms, keep_older=("ring", "session"))
    return [(each.step, each.version, each.at // HOUR_MS) for each in found]


def test_a_plan_tells_what_follows_from_what() -> None:
    """A ring announces, activates, retires and destroys, each at its own hour, and begins again."""
    month = 30 * 24
    assert plan(RING, 40 * DAY_MS) == [
        ("announce", 2, month - 1),
        ("activate", 2, month),
        ("retire", 1, month + 1),
        ("destroy", 1, month + 1 + 7 * 24),
    ]
    assert ("announce", 3, 2 * month - 1) in plan(RING, 61 * DAY_MS)


def test_a_plan_tells_every_warning() -> None:
    """Each threshold by itself; what is overdue happens now."""
    assert [at // 24 for _, _, at in plan(KEY, 100 * DAY_MS)] == [76, 87, 89]
    assert plan(KEY, 100 * DAY_MS, now_ms=80 * DAY_MS)[0] == ("warn", 1, 80 * 24)
    expiring = replace(KEY, expires_at=20 * DAY_MS)
    assert [at // 24 for _, _, at in plan(expiring, 60 * DAY_MS)] == [6, 17, 19]


def test_what_a_prepared_rotation_asked_for_is_planned() -> None:
    """Its own overlap, not the schedule's."""
    pending = SecretVersion(version=2, state="pending", created_at=1, activates_at=DAY_MS, overlap_ms=HOUR_MS)
    assert plan(replace(KEY, versions=(ACTIVE, pending)), 30 * DAY_MS) == [
        ("activate", 2, 24),
        ("retire", 1, 25),
    ]


def versions() -> st.SearchStrategy[tuple[SecretVersion, ...]]:
    def build(times: list[int], rotations: list[tuple[int, bool]], used: int | None) -> Any:  # noqa: ANN401  a tuple
        found: rotation.Versions = (replace(ACTIVE, last_used_at=used),)
        now_ms = 0
        for passes, (overlap_ms, activates) in zip(times, rotations, strict=False):
            now_ms += passes
            number = rotation.next_number(found)
            added = SecretVersion(version=number, state="pending", created_at=now_ms)
            if rotation.find_pending(found) is None:
                found = rotation.announce(found, added, now_ms + passes)
                if activates:
                    found = rotation.activate(found, number, now_ms, overlap_ms)
        return found

    moments = st.integers(0, 40 * DAY_MS)
    each = st.tuples(st.integers(0, 10 * DAY_MS), st.booleans())
    return st.builds(build, st.lists(moments, max_size=6), st.lists(each, max_size=6), st.none() | moments)


@given(
    st.sampled_from(sorted(DEFAULTS.keys() - {"data-key"})),
    versions(),
    st.none() | st.integers(1, 200 * DAY_MS),
    st.integers(0, 200 * DAY_MS),
    st.integers(0, 200 * DAY_MS),
)
def test_a_plan_is_what_would_be_done(
    kind: Any,  # noqa: ANN401  one of the kinds
    its_versions: tuple[SecretVersion, ...],
    expires_at: int | None,
    now_ms: int,
    ahead_ms: int,
) -> None:
    """In order, within its time; it begins with what is due now, and taking every step leaves nothing due."""
    secret = replace(KEY, kind=kind, versions=its_versions, expires_at=expires_at)
    until_ms = now_ms + ahead_ms
    found: tuple[Action, ...] = due.plan((secret,), SCHEDULES, now_ms, until_ms)
    times = [each.at for each in found]
    assert times == sorted(times)
    assert all(now_ms <= at <= until_ms for at in times)
    first = due.due((secret,), SCHEDULES, now_ms)
    assert not first or (first[0].step, first[0].version) == (found[0].step, found[0].version)
