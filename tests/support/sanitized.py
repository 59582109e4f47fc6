"""A room built with the compiler's own checks of every access to memory, and called with whatever its stubs allow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import compiled
from tests.support.compiled import ROOT

_FLAGS = (
    "-O1",
    "-g1",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
)
_BUILD = f"""
from compiled import build
build.build(compile_with={_FLAGS!r}, link_with={_FLAGS[2:3]!r})
"""


def build_sanitized(room: Path) -> None:
    done = _run(room, ["-c", _BUILD], {"CC": "gcc"})
    assert done.returncode == 0, done.stderr


def call_everything(room: Path, library: Path, *, seed: int, calls: int) -> subprocess.CompletedProcess[str]:
    """`library`: the sanitizer's, which has to be there before the interpreter is."""
    environment = {
        "LD_PRELOAD": str(library),
        # Each value lies in memory of its own, so that one beside it is no part of it.
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=1:strict_string_checks=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONHASHSEED": "0",
        compiled.SWITCH: "",
    }
    return _run(room, ["-m", "tests.support.stub_calls", str(seed), str(calls)], environment)


def _run(room: Path, arguments: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=room.parent,
        env={**os.environ, "PYTHONPATH": f"{room.parent}{os.pathsep}{ROOT}", **environment},
    )
