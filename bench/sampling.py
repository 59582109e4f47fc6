"""Portreeve with a sampler in it: `python -m bench.sampling OUT ARGUMENT…` runs `portreeve ARGUMENT…`.

Between two SIGUSR2, once in a millisecond of CPU time, it notes where the interpreter is: the innermost function of the
project, so that what a library or the kernel does is on the account of whoever called it. The second signal writes
OUT: a list of file, function and count.
"""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

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

Place = tuple[str, str]
LOOP: Place = ("", "event loop")


class Sampler:
    def __init__(self, out: Path) -> None:
        self._out = out
        self._runs = False
        self._counts: Counter[CodeType | None] = Counter()
        self._is_ours: dict[CodeType, bool] = {}

    def toggle(self, _signal: int, _frame: FrameType | None) -> None:
        self._runs = not self._runs
        signal.setitimer(signal.ITIMER_PROF, *(_EVERY_S, _EVERY_S) if self._runs else (0, 0))
        if not self._runs:
            told = json.dumps([(*_place(code), count) for code, count in self._counts.most_common()])
            draft = self._out.with_suffix(".draft")
            draft.write_text(told)
            draft.replace(self._out)

    def note(self, _signal: int, frame: FrameType | None) -> None:
        while frame is not None and not self._counts_for(frame.f_code):
            frame = frame.f_back
        self._counts[None if frame is None else frame.f_code] += 1

    def _counts_for(self, code: CodeType) -> bool:
        ours = self._is_ours.get(code)
        if ours is None:
            file = code.co_filename.removeprefix(_ROOT)
            ours = self._is_ours[code] = file.startswith(_ROOMS) and not file.startswith(_FRAME_OF_ALL)
        return ours


def _place(code: CodeType | None) -> Place:
    return LOOP if code is None else (code.co_filename.removeprefix(_ROOT), code.co_qualname)


def main() -> None:
    sampler = Sampler(Path(sys.argv[1]))
    sys.argv = ["portreeve", *sys.argv[2:]]
    from gateway import cli  # noqa: PLC0415  only this process needs it

    signal.signal(signal.SIGPROF, sampler.note)
    signal.signal(signal.SIGUSR2, sampler.toggle)
    cli.main()


if __name__ == "__main__":
    main()
