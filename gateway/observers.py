"""Who is told what a request did: the log and the metrics, each once a request."""

from __future__ import annotations

import traceback

from gateway.metrics import Metrics
from gateway.request_log import RequestLog
from gateway.trace import Trace


class Observers:
    def __init__(self, log: RequestLog, metrics: Metrics) -> None:
        self._log = log
        self._told = metrics.note, log.note

    def note(self, trace: Trace) -> None:
        """At the end of a request: it is finished here, and told."""
        trace.finish()
        tell_metrics, tell_log = self._told
        tell_metrics(trace)
        tell_log(trace)

    def note_defect(self, failure: BaseException, request_id: str) -> None:
        """Where it happened, without the message: what an unknown failure says may hold anything."""
        frames = traceback.extract_tb(failure.__traceback__)
        where = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames[-4:]))
        self._log.note_event("defect", request_id=request_id, failure=type(failure).__name__, where=where)
