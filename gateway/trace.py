"""What one request did, stage by stage: the one line in the log and the numbers in the metrics come from here."""

from __future__ import annotations

from operator import sub
from time import perf_counter_ns
from typing import Any


class Trace:
    """Filled while the request runs; written out once, at its end.

    Laps are taken where a request can wait or where its time goes: reading and matching it (`admit`), its body and
    signature (`authenticate`), the store (`admit_once`), the upstream (`forward`), the client (`answer`). What runs
    in between takes about as long as looking at the clock does, and is in the lap before.
    """

    # What a request that ends early never comes to say.
    path = ""
    source = ""
    route = ""
    upstream = ""
    partner = ""
    credential = ""
    decision = "allowed"
    reason = ""
    status = 0
    sent = 0

    # Known at the end: the names of the laps, and the nanoseconds of each.
    stages: tuple[str, ...] = ()
    laps: tuple[int, ...] = ()

    def __init__(self, request_id: str, method: str) -> None:
        self.request_id = request_id
        self.method = method
        # A stage, when it began, the next stage, and so on: one flat list, because it grows on every request.
        self._marks: list[Any] = ["admit", perf_counter_ns()]

    def enter(self, stage: str) -> None:
        """The stage before ends here, whether it passed or refused: its time is its own."""
        self._marks += (stage, perf_counter_ns())

    def finish(self) -> int:
        """Ends the last stage; how long all of it took, in nanoseconds."""
        marks = self._marks
        began: list[int] = marks[1::2]
        ended = [*began[1:], perf_counter_ns()]
        self.stages, self.laps = tuple(marks[::2]), tuple(map(sub, ended, began))
        return ended[-1] - began[0]

    def refuse(self, code: str) -> None:
        self.decision = "refused"
        self.reason = code
