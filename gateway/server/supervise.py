"""Several workers on one listening socket. A worker that dies is replaced; if none of them can live, the node ends.

The socket belongs to this process and outlives every worker, so connections waiting in its backlog survive a
worker's crash. No worker outlives this process: each holds the other end of a pipe, and drains when it closes.
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

_EARLY_S = 5.0
_MOST_EARLY_DEATHS = 5
_FIRST_PAUSE_S = 0.2


class WorkerFailed(Exception):
    """Workers keep ending within seconds of their start: starting more would only repeat that."""


class Supervisor:
    """Each worker is `command` with the listening sockets' descriptors and a folder that all of them share."""

    def __init__(
        self, command: Sequence[str], listeners: Sequence[socket.socket], count: int, stop_within_s: float
    ) -> None:
        self._command = list(command)
        self._listeners = list(listeners)
        self._count = count
        self._stop_within_s = stop_within_s
        self._stopping = threading.Event()
        self._folder = ""
        self._early_deaths = 0
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
        descriptors = [listener.fileno() for listener in self._listeners]
        # A session of its own: Ctrl-C reaches this process alone, and it stops the workers in order.
        worker = subprocess.Popen(  # noqa: S603  our own interpreter and module
            [*self._command, ",".join(map(str, descriptors)), self._folder],
            pass_fds=descriptors,
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self._workers[worker.pid] = (worker, time.monotonic())

    def _replace_dead(self) -> None:
        for pid, (worker, since) in list(self._workers.items()):
            if worker.poll() is None:
                continue
            del self._workers[pid]
            _release(worker)
            self._note_death(worker.returncode, lived_s=time.monotonic() - since)
            print(f"worker {pid} ended with {worker.returncode}; starting another", file=sys.stderr)  # noqa: T201
            self._start()

    def _note_death(self, code: int, lived_s: float) -> None:
        """One early death is an accident; several in a row are a node that cannot serve."""
        self._early_deaths = self._early_deaths + 1 if lived_s < _EARLY_S else 0
        if self._early_deaths >= _MOST_EARLY_DEATHS:
            raise WorkerFailed(f"workers keep ending with {code} right after their start")
        if self._early_deaths:
            self._stopping.wait(_FIRST_PAUSE_S * 2**self._early_deaths)

    def _end_all(self) -> None:
        for worker, _ in self._workers.values():
            worker.terminate()
        deadline = time.monotonic() + self._stop_within_s
        for worker, _ in self._workers.values():
            try:
                worker.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
            _release(worker)


def _release(worker: subprocess.Popen[bytes]) -> None:
    """Lets go of the leash; its end is what tells a worker that is still alive to drain."""
    if worker.stdin is not None:
        worker.stdin.close()
