"""Tools that only the system can bring: used, left out with a word, or required."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import optional

ABSENT = optional.Tool("something rare", "apt-get install rare", lambda: None)
PRESENT = optional.Tool("something common", "apt-get install common", lambda: Path("/usr/bin/common"))


@pytest.fixture(autouse=True)
def _tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of this test's own."""
    monkeypatch.setattr(optional, "TOOLS", {"rare": ABSENT, "common": PRESENT})
    monkeypatch.delenv(optional.REQUIRE_VARIABLE, raising=False)


def test_a_tool_that_is_there_is_used() -> None:
    """Its file is answered."""
    assert optional.require("common") == Path("/usr/bin/common")


def test_a_missing_tool_leaves_the_test_out_and_is_counted() -> None:
    """The end of the run tells what was not proved, and how to have it proved."""
    with pytest.raises(pytest.skip.Exception) as left_out:
        optional.require("rare")
    reason = f"Skipped: {left_out.value}"
    found = optional.count_left_out(
        [reason, reason, "Skipped: not on this day", "Skipped: tea was not found: "]
    )
    assert optional.describe_left_out(found) == [
        "rare: 2 left out (something rare). To run: apt-get install rare"
    ]


def test_where_everything_is_required_a_missing_tool_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a run which should have everything cannot quietly lack something."""
    monkeypatch.setenv(optional.REQUIRE_VARIABLE, "all")
    with pytest.raises(pytest.fail.Exception, match="apt-get install rare"):
        optional.require("rare")


def test_an_unlisted_tool_is_a_mistake() -> None:
    """A misspelt name must not skip a test for ever."""
    with pytest.raises(optional.UnknownTool):
        optional.require("ngninx")
