"""What one request did, stage by stage: the one line in the log and the numbers in the metrics come from here."""

from __future__ import annotations

from time import perf_counter_ns


class Trace:
    """Filled while the request runs; written out once, at its end."""

    __slots__ = (
        "_last",
        "_stage",
        "began",
        "credential",
        "decision",
        "laps",
        "method",
        "partner",
        "path",
        "reason",
        "request_id",
        "route",
        "sent",
        "source",
        "status",
        "upstream",
    )

    def __init__(self, request_id: str, method: str) -> None:
        self.began = self._last = perf_counter_ns()
        self.request_id = request_id
        self.method = method
        self.path = ""
        self.source = ""
        self.route = ""
        self.upstream = ""
        self.partner = ""
        self.credential = ""
        self.decision = "allowed"
        self.reason = ""
        self.status = 0
        self.sent = 0
        self.laps: list[tuple[str, int]] = []
        self._stage = "admit"

    def enter(self, stage: str) -> None:
        """The stage before ends here, whether it passed or refused: its time is its own."""
        now = perf_counter_ns()
        self.laps.append((self._stage, now - self._last))
        self._stage, self._last = stage, now

    def finish(self) -> int:
        """Ends the last stage; how long all of it took, in nanoseconds."""
        self.enter("")
        return self._last - self.began

    def refuse(self, code: str) -> None:
        self.decision = "refused"
        self.reason = code
