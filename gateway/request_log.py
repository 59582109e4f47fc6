"""One line of JSON a request, written off the loop: a disk or a pipe that stalls never stalls a request.

Invariant: no secret, no header value, no query and no body is ever in a line. When the writer cannot keep up,
lines are dropped and counted, never queued without end.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import IO, Any

import msgspec

from gateway.trace import Trace

_ENCODER = msgspec.json.Encoder()
_MAX_WAITING = 50_000
_FLUSH_S = 0.1
# A target may be 8 KiB; a line of the log need not.
_LONGEST_PATH = 256


class RequestLog:
    def __init__(self, sink: IO[bytes], node: str) -> None:
        self._sink = sink
        self._node = node
        self._waiting: deque[dict[str, Any]] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="request-log", daemon=True)
        self.dropped = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=2)

    def note(self, trace: Trace, at_ms: int, total_ns: int) -> None:
        if len(self._waiting) >= _MAX_WAITING:
            self.dropped += 1
            return
        self._waiting.append(_line(trace, at_ms, total_ns, self._node))

    def note_event(self, event: str, **members: str | int) -> None:
        """Something that is no request: a start, an outage, a defect."""
        self._waiting.append({"at": int(time.time() * 1000), "node": self._node, "event": event, **members})

    def _run(self) -> None:
        while not self._stop.wait(_FLUSH_S):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        lines: list[bytes] = []
        while self._waiting:
            lines.append(_ENCODER.encode(self._waiting.popleft()))
        if not lines:
            return
        try:
            self._sink.write(b"\n".join(lines) + b"\n")
            self._sink.flush()
        except (OSError, ValueError):
            self.dropped += len(lines)


def _line(trace: Trace, at_ms: int, total_ns: int, node: str) -> dict[str, Any]:
    return {
        "at": at_ms,
        "node": node,
        "request_id": trace.request_id,
        "source": trace.source,
        "method": trace.method,
        "path": trace.path[:_LONGEST_PATH],
        "route": trace.route,
        "upstream": trace.upstream,
        "partner": trace.partner,
        "credential": trace.credential,
        "decision": trace.decision,
        "reason": trace.reason,
        "status": trace.status,
        "sent_bytes": trace.sent,
        "total_us": total_ns // 1000,
        "stages_us": {stage: lap // 1000 for stage, lap in trace.laps},
    }
