"""A server process of the tests: started on a free loopback port, stopped by its own process id.

Invariant: no server outlives the run that started it. A guard process holds the other end of a pipe; when
that end closes without a word, for whatever reason the run died, the guard ends the server and removes its
directory.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # ships no types

READY_WITHIN = 90.0
_STOPPED_WITHIN = 15.0
_STARTS = 5
_GIVEN_BY_THE_KERNEL = Path("/proc/sys/net/ipv4/ip_local_port_range")

# It ends itself only after the server: a server that will not end in time is killed.
_GUARD = """\
import os, shutil, sys, time
pid, signal, place = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if not sys.stdin.buffer.read():
    try:
        os.kill(pid, 18)
        os.kill(pid, signal)
        for _ in range(50):
            time.sleep(0.1)
            os.kill(pid, 0)
        os.kill(pid, 9)
    except ProcessLookupError:
        pass
    shutil.rmtree(place, ignore_errors=True)
""".replace("18", str(int(signal.SIGCONT)))


class ServerFailed(Exception):
    """A server did not come up; carries the end of its log."""


class BinaryMissing(Exception):
    """A server that the tests always run is neither on PATH nor in the package that carries it."""


def _ports() -> Iterator[int]:
    """Below those that the kernel gives to whoever asks for any; where each process begins, no other does."""
    try:
        lowest = int(_GIVEN_BY_THE_KERNEL.read_text().split()[0])
    except (OSError, ValueError):
        lowest = 32_768
    ports = list(range(max(lowest // 2, 1_024), lowest))
    begin = secrets.randbelow(len(ports))
    return itertools.cycle(ports[begin:] + ports[:begin])


_free_ports = _ports()


def free_port() -> int:
    """Nobody listens there, nor will by accident: a connection that somebody opens, or a server on any port, gets
    none of these.
    """
    for port in itertools.islice(_free_ports, 1_000):
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise ServerFailed("a thousand ports in a row are taken")


class ServerProcess:
    """What every server has. A kind of server says how it is prepared, started and known to be ready."""

    name = "server"
    ends_on = signal.SIGTERM
    # What the guard sends: nobody will read the server's files again.
    aborts_on = signal.SIGTERM

    def __init__(self) -> None:
        self.place = Path(tempfile.mkdtemp(prefix=f"portreeve-{self.name}-"))
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._paused: list[psutil.Process] = []

    def command(self) -> list[str]:
        raise NotImplementedError

    def account(self) -> dict[str, object]:
        """Arguments for Popen that choose another account."""
        return {}

    def is_ready(self) -> bool:
        raise NotImplementedError

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerFailed(f"{self.name} is not running")
        return self._process.pid

    @property
    def log(self) -> Path:
        return self.place / "log"

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """On the port it had before, so that clients find it again; the first time on a free one."""
        if self.is_running():
            return
        if self.port:
            self._launch()
            return
        for attempt in range(1, _STARTS + 1):
            self.port = free_port()
            try:
                self._launch()
            except ServerFailed:
                # Another run on this machine may have chosen the same.
                if attempt == _STARTS:
                    raise
            else:
                return

    def stop(self) -> None:
        """An orderly end; what the server keeps on disk stays for the next start."""
        self._end(self.ends_on)

    def kill(self) -> None:
        """No goodbye, for it and its children alike; the parent first, or it would tidy up after them."""
        self.resume()
        children = psutil.Process(self.pid).children(recursive=True)
        self._end(signal.SIGKILL)
        for process in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(children, _STOPPED_WITHIN)

    def pause(self) -> None:
        """Stop it and its children where they stand: connections stay open, and nobody answers."""
        server = psutil.Process(self.pid)
        self._paused = [server, *server.children(recursive=True)]
        for process in self._paused:
            process.suspend()

    def resume(self) -> None:
        paused, self._paused = self._paused, []
        for process in paused:
            if process.is_running():
                process.resume()

    def close(self) -> None:
        """End it for good and remove its directory."""
        self._end(self.aborts_on)
        shutil.rmtree(self.place, ignore_errors=True)

    def _launch(self) -> None:
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C at the terminal is for the run, which then stops its servers in
            # order.
            self._process = subprocess.Popen(  # type: ignore[call-overload]  # the account is optional
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.place,
                start_new_session=True,
                **self.account(),
            )
        self._guard = subprocess.Popen(
            [sys.executable, "-ISc", _GUARD, str(self.pid), str(int(self.aborts_on)), str(self.place)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self._wait_ready()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN
        while not self.is_ready():
            if not self.is_running() or time.monotonic() > deadline:
                self._end(signal.SIGKILL)
                raise ServerFailed(f"{self.name}: {self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.01)

    def _end(self, how: signal.Signals) -> None:
        self.resume()
        process, self._process = self._process, None
        if process is not None:
            self._signal_and_wait(process, how)
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.communicate(b"ended")

    def _signal_and_wait(self, process: subprocess.Popen[bytes], how: signal.Signals) -> None:
        if process.poll() is None:
            os.kill(process.pid, how)
        try:
            process.wait(_STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOPPED_WITHIN)
