"""The tables of rotation: what they come to, and what is refused in them."""

import copy
from pathlib import Path
from typing import Any

import pytest

from gateway import settings
from keys.schedules import DAY_MS, DEFAULTS, HOUR_MS, Schedules
from tests.support.settings_files import MINIMAL, put, refusal, write


def schedules(directory: Path, *tables: dict[str, Any], **rotation: object) -> Schedules:
    document = copy.deepcopy(MINIMAL)
    document["rotation"] = {**rotation, "schedules": list(tables)}
    return settings.build_schedules(settings.load(write(directory, document)).rotation)


def test_without_tables_every_kind_has_its_default(tmp_path: Path) -> None:
    """The guard is a day."""
    configured = settings.load(write(tmp_path, MINIMAL))
    found = settings.build_schedules(configured.rotation)
    assert (found.configured, found.guard_ms) == ({}, DAY_MS)
    assert found.get("api-key", "live") == DEFAULTS["api-key"]


def test_a_table_says_what_differs_from_the_default(tmp_path: Path) -> None:
    """The rest stays; another environment stays whole."""
    table = {
        "kind": "api-key",
        "environment": "live",
        "max_age": "30d",
        "overlap": "12h",
        "warn_ahead": ["7d"],
    }
    found = schedules(tmp_path, table, guard="6h")
    live = found.get("api-key", "live")
    assert (live.max_age_ms, live.overlap_ms, live.warn_ahead_ms) == (
        30 * DAY_MS,
        12 * HOUR_MS,
        (7 * DAY_MS,),
    )
    assert live.destroy_after_ms == DEFAULTS["api-key"].destroy_after_ms
    assert found.get("api-key", "paper") == DEFAULTS["api-key"]
    assert found.guard_ms == 6 * HOUR_MS


def test_a_table_of_an_environment_goes_before_one_of_all(tmp_path: Path) -> None:
    """In whichever order they stand."""
    narrow = {"kind": "ring", "environment": "service", "max_age": "10d"}
    wide = {"kind": "ring", "max_age": "20d"}
    for tables in ((narrow, wide), (wide, narrow)):
        found = schedules(tmp_path, *tables)
        assert found.get("ring", "service").max_age_ms == 10 * DAY_MS
        assert found.get("ring", "paper").max_age_ms == 20 * DAY_MS


def test_a_secret_may_grow_as_old_as_it_likes(tmp_path: Path) -> None:
    """`never`, where nothing rotates it by itself."""
    assert (
        schedules(tmp_path, {"kind": "api-key", "max_age": "never"}).get("api-key", "live").max_age_ms is None
    )


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"kind": "api-keys"}, "kind"),
        ({"kind": "api-key", "environment": "test"}, "environment"),
        ({"kind": "api-key", "overlap": "7"}, "7"),
        ({"kind": "api-key", "overlap": 7}, "overlap"),
        ({"kind": "api-key", "overlap": "-1d"}, "-1d"),
        ({"kind": "api-key", "overlap": "31d"}, "longest_overlap"),
        ({"kind": "api-key", "warn_ahead": ["90d"]}, "warn_ahead"),
        ({"kind": "api-key", "auto": True}, "nobody would be given the new secret"),
        ({"kind": "ring", "max_age": "never"}, "auto"),
        ({"kind": "api-key", "grace": "1d"}, "grace"),
        ({"kind": "data-key", "destroy_after": "1d"}, "destroy_after means nothing"),
        ({"kind": "upstream", "overlap": "1d"}, "overlap means nothing"),
    ],
)
def test_a_table_that_does_not_hold_is_refused(tmp_path: Path, table: dict[str, Any], complaint: str) -> None:
    """With its place in the file."""
    (line,) = refusal(tmp_path, put("rotation", "schedules", value=[table]))
    assert "rotation.schedules" in line
    assert complaint in line


def test_two_tables_of_one_kind_and_environment_are_refused(tmp_path: Path) -> None:
    """Nobody could say which of them counts."""
    table = {"kind": "api-key", "environment": "live"}
    lines = refusal(tmp_path, put("rotation", "schedules", value=[table, table]))
    assert all("another table" in line for line in lines)


def test_an_unreadable_guard_is_refused(tmp_path: Path) -> None:
    """A guard of nothing by a misspelling would guard nothing."""
    assert "rotation.guard" in refusal(tmp_path, put("rotation", "guard", value="a day"))[0]
