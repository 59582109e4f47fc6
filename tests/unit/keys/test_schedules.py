import msgspec
import pytest

from keys import schedules
from keys.schedules import DAY_MS, DEFAULTS, HOUR_MS, InvalidSchedule, Schedule, Schedules

SOUND = DEFAULTS["api-key"]


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"overlap_ms": -1}, "negative"),
        ({"warn_ahead_ms": (DAY_MS, -1)}, "negative"),
        ({"destroy_after_ms": -1}, "negative"),
        ({"overlap_ms": 31 * DAY_MS}, "longest_overlap"),
        ({"max_age_ms": 0}, "max_age"),
        ({"warn_ahead_ms": (90 * DAY_MS,)}, "warn_ahead"),
        ({"max_age_ms": None, "auto": True}, "auto"),
        ({"max_age_ms": 8 * DAY_MS, "warn_ahead_ms": (), "announce_ahead_ms": DAY_MS}, "less than max_age"),
    ],
)
def test_a_schedule_that_contradicts_itself_is_refused(changed: dict[str, object], complaint: str) -> None:
    """When it is made, wherever it comes from."""
    with pytest.raises(InvalidSchedule, match=complaint):
        msgspec.structs.replace(SOUND, **changed)


def test_every_kind_has_a_schedule_in_every_environment() -> None:
    """What is configured for one environment says nothing of the others."""
    live = msgspec.structs.replace(SOUND, overlap_ms=HOUR_MS)
    found = Schedules(configured={("api-key", "live"): live})
    assert found.get("api-key", "live") is live
    assert found.get("api-key", "paper") is SOUND
    for kind in DEFAULTS:
        assert isinstance(found.get(kind, "service"), Schedule)


def test_only_what_needs_nobody_outside_is_rotated_by_itself() -> None:
    """Of a partner's secret nobody would be given the new one."""
    assert {kind for kind, schedule in DEFAULTS.items() if schedule.auto} == schedules.ALONE
