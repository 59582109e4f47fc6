"""OAuth clients from npm, unmodified, each in a Node process that is talked to in lines of JSON.

Invariant: what is installed is exactly what the lock names, once per lock, into a folder that git ignores. Without Node
20, npm, or a registry to reach, `find` answers None and the tests that need them are left out by name.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "e2e" / "js"
_NEEDED_NODE = 20
_INSTALL_S = 180
_ANSWER_S = 60


class Refused(Exception):
    """What the client library threw."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__(json.dumps(told))
        self.name = told.get("name")
        self.code = told.get("code")
        self.error = told.get("error")
        self.status = told.get("status")
        self.schemes = [challenge["scheme"] for challenge in told.get("challenges") or ()]


def find() -> Path | None:
    """The folder of the scripts, once their packages are there."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None or _major(node) < _NEEDED_NODE:
        return None
    return FOLDER if _installed(npm) else None


def _major(node: str) -> int:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60, check=False).stdout
    found = re.match(r"v(\d+)\.", said)
    return int(found[1]) if found else 0


def _installed(npm: str) -> bool:
    wanted = hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()
    packages = FOLDER / "node_modules"
    mark = packages / ".installed"
    with (FOLDER / ".installing").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test processes beside this one want the same packages
        if not mark.exists() or mark.read_text() != wanted:
            try:
                done = subprocess.run(
                    [npm, "ci"], cwd=FOLDER, capture_output=True, timeout=_INSTALL_S, check=False
                )
            except subprocess.TimeoutExpired:
                return False
            if done.returncode != 0:
                return False
            mark.write_text(wanted)
    return True


class Conversation:
    """One script of the folder, kept running: what it learns from an answer, a nonce say, it keeps."""

    def __init__(self, script: str) -> None:
        self._process = subprocess.Popen(
            ["node", script],
            cwd=FOLDER,
            env={**os.environ, "NODE_NO_WARNINGS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, action: str, **asked: object) -> Any:  # noqa: ANN401  any JSON
        """Its answer; what it throws raises `Refused`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": action, **asked}) + "\n")
        self._process.stdin.flush()
        watchdog = threading.Timer(_ANSWER_S, self._process.kill)
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            raise AssertionError(f"the client ended in the middle of {action!r}")
        told = json.loads(line)
        if "refused" in told:
            raise Refused(told["refused"])
        return told["answer"]

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait(30)
