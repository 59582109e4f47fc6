"""What one request did, stage by stage: the one line in the log and the numbers in the metrics come from here."""

from __future__ import annotations

from operator import sub
from time import perf_counter_ns
from typing import Any

import msgspec

# A target may be 8 KiB; what is told of it need not.
LONGEST_PATH = 256
# How many whole microseconds: `lap // 1000`, without a call of our own for each lap.
_whole_us = (1000).__rfloordiv__


class Trace(msgspec.Struct, dict=True):
    """Filled while the request runs; written out once, at its end, as it stands: these are the fields of a line.

    Laps are taken where a request can wait or where its time goes: reading and matching it (`admit`), its body and
    signature (`authenticate`), the store (`admit_once`), the upstream (`forward`), the client (`answer`). What runs
    in between takes about as long as looking at the clock does, and is in the lap before.
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
    stages_us: dict[str, int] = {}

    def __post_init__(self) -> None:
        # Not fields, so not in the line. A stage, when it began, the next stage, and so on; at the end the names of the
        # laps, and the nanoseconds of each and of all.
        self._marks: list[Any] = ["admit", perf_counter_ns()]
        self.stages: tuple[str, ...] = ()
        self.laps: tuple[int, ...] = ()
        self.total_ns = 0

    def enter(self, stage: str) -> None:
        """The stage before ends here, whether it passed or refused: its time is its own."""
        self._marks += (stage, perf_counter_ns())

    def finish(self) -> None:
        """Ends the last stage."""
        marks = self._marks
        began: list[int] = marks[1::2]
        ended = [*began[1:], perf_counter_ns()]
        stages = self.stages = tuple(marks[::2])
        laps = self.laps = tuple(map(sub, ended, began))
        self.stages_us = dict(zip(stages, map(_whole_us, laps), strict=True))
        self.total_ns = ended[-1] - began[0]
        self.total_us = self.total_ns // 1000

    def refuse(self, code: str) -> None:
        self.decision = "refused"
        self.reason = code
