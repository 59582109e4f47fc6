"""Building: all or nothing, told, and no failure unless it was asked to be one."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiled import build
from tests.support.compiled import run_python
from tests.support.room_copies import build_in, choice_in, library_in


@pytest.mark.parametrize("compiler", ["/nowhere/cc", "false"])
def test_without_a_compiler_everything_runs_interpreted(unbuilt: Path, compiler: str) -> None:
    """That is said in a line, and is a failure only where a build is required."""
    done = build_in(unbuilt, CC=compiler)
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1].startswith("portreeve: not compiled (")
    assert done.stderr.endswith("; everything runs interpreted\n")
    assert choice_in(unbuilt).why_not == "not built"
    assert build_in(unbuilt, "--require", CC=compiler).returncode == 1


def test_without_what_generates_it_everything_runs_interpreted(unbuilt: Path) -> None:
    """An installation that only runs need not have Cython."""
    (unbuilt.parent / "Cython").mkdir()
    (unbuilt.parent / "Cython/__init__.py").touch()
    done = build_in(unbuilt, CC="true")
    assert (done.returncode, done.stderr) == (
        0,
        "portreeve: not compiled (Cython.Build is not installed); everything runs interpreted\n",
    )


@pytest.mark.parametrize("compiler", ["/nowhere/cc", "false"])
def test_a_build_that_fails_leaves_nothing_that_is_used(built: Path, compiler: str) -> None:
    """Even where what was there before was built from the same sources."""
    assert build_in(built, CC=compiler).returncode == 0
    assert choice_in(built).why_not == "not built"


def test_a_source_that_is_wrong_is_a_build_that_fails(built: Path) -> None:
    """The other modules are not used either."""
    (built / "laps.pyx").write_text("def broken(:\n")
    done = build_in(built, "--require")
    assert (done.returncode, choice_in(built).why_not) == (1, "not built")
    assert "portreeve: not compiled" in done.stderr


def test_the_stamp_is_written_last(built: Path) -> None:
    """While libraries come into place nothing says that they are whole, and none comes if that fails."""
    watch = """
import shutil
from compiled import build, stamp

copy = shutil.copy
def watched(source, target):
    print(stamp().exists())
    return copy(source, target)
shutil.copy = watched
build.build()
print(stamp().exists())
"""
    assert run_python(watch, at=built.parent).splitlines()[-2:] == ["False", "True"]
    full = """
import shutil
from compiled import build

def fail(source, target):
    raise OSError("no space left")
shutil.copy = fail
raise SystemExit(build.main())
"""
    run_python(full, at=built.parent)
    assert choice_in(built).why_not == "not built"


def test_a_build_vouches_only_for_what_it_made(built: Path) -> None:
    """What another build put in place meanwhile, perhaps of other sources, gets no stamp that says it is of these."""
    meanwhile = """
import shutil
from compiled import build

copy = shutil.copy
def overtaken(source, target):
    copy(source, target)
    target.write_bytes(target.read_bytes() + b"of another build")
shutil.copy = overtaken
build.build()
"""
    run_python(meanwhile, at=built.parent)
    assert choice_in(built).why_not == "not built whole"


def test_a_source_that_changes_while_it_is_built_is_a_build_that_fails(built: Path) -> None:
    """Else it would be used once the source is as it was, whatever was compiled of it in between."""
    changing = """
import sys
from pathlib import Path
from compiled import build

source, compile_all = Path(sys.argv[1]), build._compile
def changed(*arguments):
    compile_all(*arguments)
    source.write_text(source.read_text() + "# more")
build._compile = changed
build.main()
"""
    source = built / "laps.pyx"
    before = source.read_text()
    run_python(changing, str(source), at=built.parent)
    source.write_text(before)
    assert choice_in(built).why_not == "not built"


def test_whoever_runs_what_was_built_before_keeps_it(built: Path, tmp_path: Path) -> None:
    """A library that is overwritten in place changes under a process that has it open."""
    library = library_in(built)
    library.write_bytes(library.read_bytes() + b"of the build before")
    (tmp_path / "running").hardlink_to(library)
    assert build_in(built, "--require").returncode == 0
    assert (tmp_path / "running").read_bytes().endswith(b"of the build before")
    assert not library.read_bytes().endswith(b"of the build before")
    assert choice_in(built).is_used


def test_who_interrupts_a_build_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything else is told and gone round, the exits of the tools below included."""

    def raising(failure: BaseException) -> None:
        def fail() -> None:
            raise failure

        monkeypatch.setattr(build, "build", fail)

    raising(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        build.main()
    monkeypatch.setattr("sys.argv", ["build"])
    raising(SystemExit("the tool gave up"))
    assert build.main() == 0
    monkeypatch.setattr("sys.argv", ["build", "--require"])
    assert build.main() == 1


def test_every_access_is_checked_as_it_is_built() -> None:
    """Bounds, and what is None: no build goes without."""
    assert build._DIRECTIVES.items() >= {("boundscheck", True), ("nonecheck", True), ("wraparound", False)}
