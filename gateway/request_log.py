"""One line of JSON a request, written off the loop: a disk or a pipe that stalls never stalls a request.

A line is encoded where its request ends: a microsecond each, where a thread that encoded hundreds at once would keep
the loop from running for as long as that takes.

A path is told as it came, but for what begins as our secrets do: that is looked for off the loop, too.

Invariant: no secret, no header value, no query and no body is ever in a line. When the writer cannot keep up,
lines are dropped and counted, never queued without end.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from operator import itemgetter
from typing import IO

import msgspec

import compiled
from gateway.trace import Trace
from keys import shown

_ENCODER = msgspec.json.Encoder()
_encode = _ENCODER.encode
_without_brace = itemgetter(slice(1, None))
_MAX_WAITING = 50_000
_FLUSH_S = 0.1


class RequestLog:
    def __init__(self, sink: IO[bytes], node: str) -> None:
        self._sink = sink
        # Every line begins with it, so it is written out once.
        self._beginning = _ENCODER.encode({"node": node})[:-1] + b","
        self._waiting: deque[bytes] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="request-log", daemon=True)
        self.dropped = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=2)

    def note(self, trace: Trace) -> None:
        waiting = self._waiting
        if len(waiting) < _MAX_WAITING:
            waiting.append(_encode(trace))
        else:
            self.dropped += 1

    def note_event(self, event: str, **members: str | int) -> None:
        """Something that is no request: a start, an outage, a defect."""
        if len(self._waiting) >= _MAX_WAITING:
            self.dropped += 1
            return
        self._waiting.append(_encode({"at": int(time.time() * 1000), "event": event, **members}))

    def _run(self) -> None:
        while not self._stop.wait(_FLUSH_S):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        lines: list[bytes] = []
        while self._waiting:
            lines.append(self._waiting.popleft())
        if not lines:
            return
        try:
            joined = _join(lines, self._beginning) or join_interpreted(lines, self._beginning)
            self._sink.write(_masked(joined))
            self._sink.flush()
        except (OSError, ValueError):
            self.dropped += len(lines)


def join_interpreted(objects: list[bytes], beginning: bytes) -> bytes:
    """A line for each object, and in the place of its brace what every line begins with."""
    return beginning + (b"\n" + beginning).join(map(_without_brace, objects)) + b"\n"


# As any of our secrets begins: most lines hold none, and are not looked at closely.
PREFIXES = (b"prs_", b"pcs_", b"pit_", b"prt_", b"whsec_")


def may_hold_secrets_interpreted(lines: bytes) -> bool:
    return any(prefix in lines for prefix in PREFIXES)


if compiled.IS_USED:
    from compiled.lines import Finder
    from compiled.lines import join as _join

    _may_hold_secrets = Finder(PREFIXES).is_any_in
else:
    _join, _may_hold_secrets = join_interpreted, may_hold_secrets_interpreted


def _masked(lines: bytes) -> bytes:
    return shown.mask_credentials(lines.decode()).encode() if _may_hold_secrets(lines) else lines
