"""What one request did, stage by stage: the one line in the log and the numbers in the metrics come from here."""

from __future__ import annotations

from operator import sub
from time import perf_counter_ns

import msgspec

# A target may be 8 KiB; what is told of it need not.
LONGEST_PATH = 256


def _now_us() -> int:
    return perf_counter_ns() // 1000


class Trace(msgspec.Struct):
    """Filled while the request runs; written out once, at its end, as it stands: these are the fields of a line.

    Laps are taken where a request can wait or where its time goes: reading and matching it (`admit`), its body and
    signature (`authenticate`), the store (`admit_once`), the upstream (`forward`), the client (`answer`). What runs
    in between takes about as long as looking at the clock does, and is in the lap before. The laps add up to the whole.

    `stages_us` is what each stage took once the trace is finished. Until then it is at which microsecond each began.
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
    stages_us: dict[str, int] = msgspec.field(default_factory=lambda: {"admit": _now_us()})

    def enter(self, stage: str) -> None:
        """The stage before ends here, whether it passed or refused: its time is its own."""
        self.stages_us[stage] = _now_us()

    def finish(self) -> None:
        """Ends the last stage."""
        began = self.stages_us
        marks = [*began.values(), _now_us()]
        self.stages_us = dict(zip(began, map(sub, marks[1:], marks), strict=True))
        self.total_us = marks[-1] - marks[0]

    def refuse(self, code: str) -> None:
        self.decision = "refused"
        self.reason = code
