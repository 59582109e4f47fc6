"""No message reaches memory that is not its own: all of the compiled room, under the compiler's sanitizers."""

from __future__ import annotations

import json
from pathlib import Path

import compiled
from tests.support import optional
from tests.support.room_copies import copy_room
from tests.support.sanitized import build_sanitized, call_everything

CALLS = 40_000
# One byte further than any value reaches, as a mistake would look.
ASTRAY = """
from cpython.bytes cimport PyBytes_AS_STRING

def look(bytes whole not None):
    return PyBytes_AS_STRING(whole)[len(whole) + 40]
"""


def test_whatever_comes_nothing_is_touched_that_is_not_there(tmp_path: Path) -> None:
    """Neither outside of bytes, nor after their end, nor by a number that ran over; and what is in doubt is declined,
    not raised.
    """
    library = optional.require("sanitizer")
    room = copy_room(tmp_path)
    build_sanitized(room)
    done = call_everything(room, library, seed=20_261_121, calls=CALLS)
    assert done.returncode == 0, done.stderr[-6000:]
    counts: dict[str, list[int]] = json.loads(done.stdout)
    assert {name.partition(".")[0] for name in counts} == set(compiled.MODULES)
    assert sum(called for called, _ in counts.values()) > 0.9 * CALLS
    # What never answered was never asked anything that it knows.
    assert counts["heads.HeadReader.read"][1] > 5
    assert counts["answers.AnswerReader.read"][1] > 5
    assert counts["steps.begun"][1] > 300
    assert counts["steps.given"][1] > 300


def test_a_look_outside_of_a_value_is_reported(tmp_path: Path) -> None:
    """Otherwise the test above would prove nothing."""
    library = optional.require("sanitizer")
    room = copy_room(tmp_path, ())
    (room / "astray.pyx").write_text(ASTRAY)
    (room / "astray.pyi").write_text("def look(whole: bytes) -> int: ...\n")
    beginning = room / "__init__.py"
    beginning.write_text(beginning.read_text().replace("MODULES: Final = ()", 'MODULES: Final = ("astray",)'))
    build_sanitized(room)
    done = call_everything(room, library, seed=1, calls=100)
    assert done.returncode != 0
    assert "ERROR: AddressSanitizer: heap-" in done.stderr
