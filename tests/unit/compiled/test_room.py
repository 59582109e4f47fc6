"""When what is compiled is used: whole, of these sources, and not turned off; or none of it."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import compiled
from tests.support.compiled import needs_the_room, run_interpreted, run_python
from tests.support.room_copies import Choice, choice_in, library_in, stamp_in

OTHER_SOURCES = Choice(
    is_used=False,
    why_not="built from other sources",
    described="interpreted (built from other sources)",
)


def test_what_was_built_here_is_used(built: Path) -> None:
    """Otherwise the rest of these tests would prove nothing."""
    assert choice_in(built) == Choice(is_used=True, why_not="", described="compiled")


def test_it_can_be_turned_off(built: Path) -> None:
    """By the environment, and by that one word."""
    assert choice_in(built, PORTREEVE_COMPILED="off").described == "interpreted (turned off)"
    assert choice_in(built, PORTREEVE_COMPILED="").is_used
    assert run_interpreted("import compiled; print(compiled.WHY_NOT)").strip() == compiled.TURNED_OFF


def test_what_is_turned_off_is_not_even_loaded(built: Path) -> None:
    """So that a library at fault can be gone round."""
    library_in(built).write_bytes(b"no library")
    assert choice_in(built, PORTREEVE_COMPILED="off").why_not == "turned off"


def test_a_room_that_was_never_built_says_so(unbuilt: Path) -> None:
    """And needs nothing of what builds it."""
    assert choice_in(unbuilt) == Choice(
        is_used=False, why_not="not built", described="interpreted (not built)"
    )


@pytest.mark.parametrize("source", ["laps.pyx", "pieces.pxd", "build.py"])
def test_what_was_built_from_other_sources_is_not_used(built: Path, source: str) -> None:
    """Nor what was built in another way: the checks of every access are a matter of how."""
    with (built / source).open("a") as changed:
        changed.write("# more\n")
    assert choice_in(built) == OTHER_SOURCES


def test_a_source_that_came_or_went_is_a_change(built: Path) -> None:
    """Each was there when the rest was built, or was not."""
    (built / "more.pxd").touch()
    assert choice_in(built) == OTHER_SOURCES
    (built / "more.pxd").unlink()
    assert choice_in(built).is_used
    (built / "pieces.pxd").rename(built / "scraps.pxd")
    assert choice_in(built) == OTHER_SOURCES


@pytest.mark.parametrize("inscription", [b"", b"\xff\xfe", b"\n\n"])
def test_a_stamp_of_anything_else_vouches_for_nothing(built: Path, inscription: bytes) -> None:
    """A disk that was full, or another tool's file."""
    stamp_in(built).write_bytes(inscription)
    assert choice_in(built) == OTHER_SOURCES


def test_half_a_build_is_never_used(built: Path) -> None:
    """A library that is missing, cut, or another than was built."""
    whole = library_in(built).read_bytes()
    for spoilt in (whole[: len(whole) // 2], whole + b"\0", b""):
        library_in(built).write_bytes(spoilt)
        assert choice_in(built).why_not == "not built whole"
    library_in(built).unlink()
    assert choice_in(built).why_not.startswith("not built whole: ")


def test_a_cut_stamp_vouches_for_nothing(built: Path) -> None:
    """Its first line alone says nothing of the libraries."""
    stamp_in(built).write_text(stamp_in(built).read_text().splitlines()[0] + "\n")
    assert choice_in(built).why_not == "not built whole"


def test_what_does_not_load_is_not_used(built: Path) -> None:
    """A library for another system, whatever its stamp says, is no reason not to start."""
    library_in(built).write_bytes(b"no library")
    restamp = "import compiled; compiled.stamp().write_text(compiled.inscription(compiled.fingerprint()))"
    run_python(restamp, at=built.parent)
    assert choice_in(built).why_not.startswith("not built whole: ")


@pytest.mark.parametrize(
    "name", [f"laps{EXTENSION_SUFFIXES[0]}", compiled.stamp().name, "build.py", "laps.pyx"]
)
def test_what_cannot_be_read_is_not_used(built: Path, name: str) -> None:
    """Built by another account for itself, say: no reason not to start. A folder in its place reads as badly."""
    (built / name).unlink()
    (built / name).mkdir()
    assert choice_in(built).why_not.startswith("not built whole: ")


def test_without_its_sources_it_is_not_used(built: Path) -> None:
    """Who took them away says nothing of what was built, and the gateway starts."""
    (built / "build.py").unlink()
    assert choice_in(built).why_not.startswith("not built whole: ")


@needs_the_room
def test_every_module_has_its_library() -> None:
    """All of the room is used or none."""
    assert [library.name.partition(".")[0] for library in compiled.libraries()] == list(compiled.MODULES)
    assert all(library.is_file() for library in compiled.libraries())
