"""Where tests keep their files."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support import places

PLENTY = SimpleNamespace(f_bavail=places.ENOUGH_BYTES, f_frsize=1, f_flag=0)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the system tells of the memory: as much as it takes, until a test says otherwise."""
    told = SimpleNamespace(**vars(PLENTY))
    monkeypatch.setattr(os, "statvfs", lambda _: told)
    return told


def chosen(tmp_path: Path, **environment: str) -> str | None:
    places.choose(environment, tmp_path)
    return environment.get(places.ROOT_VARIABLE)


@pytest.mark.usefixtures("found")
def test_memory_takes_the_files_where_there_is_enough_of_it(tmp_path: Path) -> None:
    """What is committed there does not wait for a disk."""
    assert chosen(tmp_path) == str(tmp_path)


@pytest.mark.usefixtures("found")
@pytest.mark.parametrize("said", [{"TMPDIR": "/elsewhere"}, {places.ROOT_VARIABLE: "/elsewhere"}])
def test_who_says_where_is_obeyed(tmp_path: Path, said: dict[str, str]) -> None:
    """Also a machine whose memory is wanted for other things."""
    assert chosen(tmp_path, **said) == said.get(places.ROOT_VARIABLE)


@pytest.mark.parametrize("lack", [{"f_bavail": places.ENOUGH_BYTES - 1}, {"f_flag": os.ST_NOEXEC}])
def test_memory_that_is_too_small_or_runs_nothing_is_left_alone(
    tmp_path: Path, found: SimpleNamespace, lack: dict[str, int]
) -> None:
    """As containers have it."""
    vars(found).update(lack)
    assert chosen(tmp_path) is None


@pytest.mark.usefixtures("found")
def test_a_system_without_it_keeps_its_disk(tmp_path: Path) -> None:
    """Not every system mounts it."""
    assert chosen(tmp_path / "none") is None
