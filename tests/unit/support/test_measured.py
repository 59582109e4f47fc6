from pathlib import Path

import pytest

from tests.support import measured

TESTS = Path(__file__).parents[2]


@pytest.mark.parametrize("name", measured.UNMEASURED)
def test_what_goes_unmeasured_is_there(name: str) -> None:
    """A directory that moves takes its line along."""
    assert any((TESTS / name).glob("**/test_*.py"))


@pytest.mark.parametrize("room", ["auth", "keys", "policies"])
def test_the_measured_rooms_own_tests_are_measured(room: str) -> None:
    """Coverage of a room is first what its own tests cover."""
    assert measured.is_measured(TESTS / "unit" / room / "test_any.py")
    assert not measured.is_measured(TESTS / "hazards" / "test_any.py")


def test_one_database_of_two_is_measured() -> None:
    """The rooms run the same lines over either."""
    path = TESTS / "unit" / "keys" / "test_any.py"
    assert measured.is_measured(path, ["sqlite", "acme"])
    assert not measured.is_measured(path, ["acme", "postgresql"])
