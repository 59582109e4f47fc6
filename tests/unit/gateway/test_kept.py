"""What is kept of what strangers choose: bounded, and the same as if it were made anew."""

from __future__ import annotations

import pytest

from gateway.kept import Kept


def test_a_value_is_made_once_and_found_from_then_on() -> None:
    """By its key alone."""
    made: list[int] = []

    def make(key: int) -> str:
        made.append(key)
        return str(key)

    kept = Kept(make, is_small=lambda _: True, most=10)
    assert [kept[1], kept[2], kept[1]] == ["1", "2", "1"]
    assert made == [1, 2]


def test_the_oldest_goes_when_there_are_too_many() -> None:
    """One for one, and it is made anew when it is asked for again."""
    kept = Kept(str, is_small=lambda _: True, most=3)
    for key in range(5):
        assert kept[key] == str(key)
    assert list(kept) == [2, 3, 4]
    assert kept[0] == "0"
    assert list(kept) == [3, 4, 0]


def test_nothing_large_is_kept() -> None:
    """It is made each time."""
    kept = Kept(len, is_small=lambda key: len(key) < 3, most=10)
    assert [kept[b"aaaa"], kept[b"aa"]] == [4, 2]
    assert list(kept) == [b"aa"]


def test_what_raises_is_not_kept() -> None:
    """It raises again."""
    kept = Kept(int, is_small=lambda _: True, most=10)
    for _ in range(2):
        with pytest.raises(ValueError, match="x"):
            kept["x"]
    assert not kept
