"""What one request did, stage by stage: the one line in the log and the numbers in the metrics come from here."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns

import msgspec

import compiled

if compiled.IS_USED:
    from compiled import laps

# A target may be 8 KiB; what is told of it need not.
LONGEST_PATH = 256


def finish_interpreted(began: dict[str, int], now_ns: int) -> tuple[dict[str, int], int]:
    """What each stage took in microseconds, and all together. Each began when the one before ended."""
    took: dict[str, int] = {}
    stage, first, last = None, 0, 0
    for following, at_ns in began.items():
        at = at_ns // 1000
        if stage is None:
            first = at
        else:
            took[stage] = at - last
        stage, last = following, at
    if stage is None:
        return took, 0
    took[stage] = now_ns // 1000 - last
    return took, now_ns // 1000 - first


def _best() -> Callable[[dict[str, int], int], tuple[dict[str, int], int]]:
    return laps.finish if compiled.IS_USED else finish_interpreted


finish_laps = _best()


class Trace(msgspec.Struct):
    """Filled while the request runs; written out once, at its end, as it stands: these are the fields of a line.

    Laps are taken where a request can wait or where its time goes: reading and matching it (`admit`), its body and
    signature (`authenticate`), the store (`admit_once`), the upstream (`forward`), the client (`answer`). What runs
    in between takes about as long as looking at the clock does, and is in the lap before. The laps add up to the whole.

    `stages_us` is what each stage took once the trace is finished. Until then it is at which nanosecond each began.
    """

    at: int
    request_id: str
    method: str
    source: str = ""
    path: str = ""
    route: str = ""
    upstream: str = ""
    partner: str = ""
    credential: str = ""
    decision: str = "allowed"
    reason: str = ""
    status: int = 0
    sent_bytes: int = 0
    total_us: int = 0
    stages_us: dict[str, int] = msgspec.field(default_factory=lambda: {"admit": perf_counter_ns()})

    def enter(self, stage: str) -> None:
        """The stage before ends here, whether it passed or refused: its time is its own."""
        self.stages_us[stage] = perf_counter_ns()

    def finish(self) -> None:
        """Ends the last stage."""
        self.stages_us, self.total_us = finish_laps(self.stages_us, perf_counter_ns())

    def refuse(self, code: str) -> None:
        self.decision = "refused"
        self.reason = code
