"""Portreeve with an instrument in it: `python -m bench.instrumented KIND OUT ARGUMENT…` runs `portreeve ARGUMENT…`.

Between two SIGUSR2 the instrument runs; the second one writes OUT: a list of file, function and count. KIND is

- `samples`: once in a millisecond of CPU time it notes the innermost function of the project, so that what a library
  or the kernel does is on the account of whoever called it. It costs little, and tells where time goes.
- `bytecodes`: it counts each bytecode that the interpreter runs. It makes everything slow, and tells the same on every
  machine and at every hour.
"""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

_ROOT = str(Path(__file__).parent.parent) + "/"
_ROOMS = ("gateway/", "auth/", "keys/", "policies/", "storage/")
# Everything runs inside these: being in them alone means being in the loop.
_FRAME_OF_ALL = (
    "gateway/server/run.py",
    "gateway/cli/",
    "gateway/serving.py",
    "gateway/app.py",
    "gateway/__main__.py",
)
_EVERY_S = 0.001

# File, function, count.
Counted = tuple[str, str, int]


class Samples:
    def __init__(self) -> None:
        self.counts: Counter[CodeType | None] = Counter()
        self._is_ours: dict[CodeType, bool] = {}
        signal.signal(signal.SIGPROF, self._note)

    def start(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, _EVERY_S, _EVERY_S)

    def stop(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _note(self, _signal: int, frame: FrameType | None) -> None:
        while frame is not None and not self._is_of_a_stage(frame.f_code):
            frame = frame.f_back
        self.counts[None if frame is None else frame.f_code] += 1

    def _is_of_a_stage(self, code: CodeType) -> bool:
        ours = self._is_ours.get(code)
        if ours is None:
            file = code.co_filename.removeprefix(_ROOT)
            ours = self._is_ours[code] = file.startswith(_ROOMS) and not file.startswith(_FRAME_OF_ALL)
        return ours


class Bytecodes:
    def __init__(self) -> None:
        self.counts: Counter[CodeType | None] = Counter()

    def start(self) -> None:
        sys.settrace(self._trace)

    def stop(self) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, _argument: object) -> Any:  # noqa: ANN401  a trace function
        if event == "opcode":
            self.counts[frame.f_code] += 1
        elif event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._trace


_KINDS: dict[str, type[Samples | Bytecodes]] = {"samples": Samples, "bytecodes": Bytecodes}


class Switch:
    """What SIGUSR2 turns on, and off again."""

    def __init__(self, instrument: Samples | Bytecodes, out: Path) -> None:
        self._instrument = instrument
        self._out = out
        self._is_on = False

    def toggle(self, _signal: int, _frame: FrameType | None) -> None:
        self._is_on = not self._is_on
        if self._is_on:
            self._instrument.start()
            return
        self._instrument.stop()
        draft = self._out.with_suffix(".draft")
        draft.write_text(json.dumps([_told(*entry) for entry in self._instrument.counts.most_common()]))
        draft.replace(self._out)


def _told(code: CodeType | None, count: int) -> Counted:
    return ("", "event loop", count) if code is None else (_file_of(code), code.co_qualname, count)


def _file_of(code: CodeType) -> str:
    """From the root of the project; what is no file of it is told by its name alone, since it lies anywhere."""
    inside = code.co_filename.startswith(tuple(_ROOT + room for room in _ROOMS))
    return code.co_filename.removeprefix(_ROOT) if inside else f"library {Path(code.co_filename).name}"


def main() -> None:
    switch = Switch(_KINDS[sys.argv[1]](), Path(sys.argv[2]))
    sys.argv = ["portreeve", *sys.argv[3:]]
    from gateway import cli  # noqa: PLC0415  only this process needs it

    signal.signal(signal.SIGUSR2, switch.toggle)
    cli.main()


if __name__ == "__main__":
    main()
