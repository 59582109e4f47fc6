"""A contender's program while it runs: started in a folder of its own, ended by its process id."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from bench.contenders.requests import Maker
from bench.deployment import TARGET
from bench.ground import wait_until_listening

_TOO_OLD_S = 600


class Made:
    """The requests of a running contender, whatever kind they are."""

    def __init__(self, maker: Maker) -> None:
        self._maker = maker

    def requests(self, count: int, *, target: str = TARGET, body: bytes = b"") -> list[bytes]:
        return self._maker.make(count, target, body)

    def tampered(self, count: int) -> list[bytes]:
        return self._maker.make(count, tamper=True)

    def expired(self, count: int) -> list[bytes]:
        return self._maker.make(count, age_s=_TOO_OLD_S)


class Server(Made):
    def __init__(self, command: list[str], folder: Path, port: int, maker: Maker) -> None:
        super().__init__(maker)
        self.port = port
        log = folder / "log"
        with log.open("wb") as out:
            self._program = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        self.pid = self._program.pid
        try:
            wait_until_listening(port, self._program, log)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self._program.terminate()
        self._program.wait(15)


def folder_of(parent: Path, name: str) -> Path:
    """A new one at every start, so that no run finds what another left."""
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
