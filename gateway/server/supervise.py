"""Several workers on one listening socket. A worker that dies is replaced; one that cannot start ends the rest.

The socket belongs to this process and outlives every worker, so connections waiting in its backlog survive a
worker's crash.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from types import FrameType

_CRASH_WINDOW_S = 5.0
_STOP_WITHIN_S = 40.0


class WorkerFailed(Exception):
    """A worker ended within seconds of its start: starting it again would only repeat that."""


class Supervisor:
    """Each worker is `command` with the listening socket's descriptor and a folder that all of them share."""

    def __init__(self, command: Sequence[str], listener: socket.socket, count: int) -> None:
        self._command = list(command)
        self._listener = listener
        self._count = count
        self._stopping = threading.Event()
        self._folder = ""
        self._workers: dict[int, tuple[subprocess.Popen[bytes], float]] = {}

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        with tempfile.TemporaryDirectory(prefix="portreeve-") as self._folder:
            try:
                for _ in range(self._count):
                    self._start()
                while not self._stopping.wait(0.1):
                    self._replace_dead()
            finally:
                self._end_all()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping.set()

    def _start(self) -> None:
        descriptor = self._listener.fileno()
        # A session of its own: Ctrl-C reaches this process alone, and it stops the workers in order.
        worker = subprocess.Popen(  # noqa: S603  our own interpreter and module
            [*self._command, str(descriptor), self._folder], pass_fds=[descriptor], start_new_session=True
        )
        self._workers[worker.pid] = (worker, time.monotonic())

    def _replace_dead(self) -> None:
        for pid, (worker, since) in list(self._workers.items()):
            if worker.poll() is None:
                continue
            del self._workers[pid]
            if time.monotonic() - since < _CRASH_WINDOW_S:
                raise WorkerFailed(f"a worker ended with {worker.returncode} right after its start")
            print(f"worker {pid} ended with {worker.returncode}; starting another", file=sys.stderr)  # noqa: T201
            self._start()

    def _end_all(self) -> None:
        for worker, _ in self._workers.values():
            worker.terminate()
        deadline = time.monotonic() + _STOP_WITHIN_S
        for worker, _ in self._workers.values():
            try:
                worker.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
