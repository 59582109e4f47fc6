"""A file of JSON Lines, an entry a line, each as an export has it.

Invariant: what was delivered is on the disk. A line that a crash tore is taken back before anything is written behind
it, since it was never delivered; whole lines are never touched. A file that was moved away (by logrotate, say) is left
to whoever moved it, and a new one is begun. Refuses a file that others can read, and one that is no regular file:
what is known of partners stands in it.
"""

import asyncio
import fcntl
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gateway.ledger import lines
from gateway.ledger.sinks import SinkUnavailable
from storage import audit

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_BLOCK: Final = 65_536


class FileSink:
    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._path = path
        self._opened: int | None = None

    async def deliver(self, entries: Sequence[audit.AuditEntry]) -> None:
        block = b"".join(lines.entry(entry.members()) for entry in entries)
        await asyncio.to_thread(self._append, block)

    async def aclose(self) -> None:
        self._close()

    def _append(self, block: bytes) -> None:
        try:
            descriptor = self._open()
            # Two processes that follow one ledger into one file take turns.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                _take_back_torn_line(descriptor)
                _write_all(descriptor, block)
                os.fsync(descriptor)
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        except OSError as failure:
            self._close()
            raise SinkUnavailable(f"{self._path}: {failure.strerror}") from failure

    def _open(self) -> int:
        if self._opened is not None and self._was_moved(self._opened):
            self._close()
        if self._opened is None:
            descriptor = os.open(self._path, _FLAGS, 0o600)
            self._opened = descriptor
            self._require_private(os.fstat(descriptor))
            _sync_directory(self._path.parent)
        return self._opened

    def _was_moved(self, descriptor: int) -> bool:
        ours = os.fstat(descriptor)
        try:
            there = self._path.stat(follow_symlinks=False)
        except FileNotFoundError:
            return True
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)

    def _require_private(self, status: os.stat_result) -> None:
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISREG(status.st_mode) and not mode & 0o077:
            return
        self._close()
        what = f"has mode {mode:04o}: chmod 600 it" if stat.S_ISREG(status.st_mode) else "is no regular file"
        raise SinkUnavailable(f"{self._path} {what}")

    def _close(self) -> None:
        if self._opened is not None:
            os.close(self._opened)
            self._opened = None


def _take_back_torn_line(descriptor: int) -> None:
    size = os.fstat(descriptor).st_size
    end = size
    while end:
        begin = max(0, end - _BLOCK)
        found = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if found >= 0:
            end = begin + found + 1
            break
        end = begin
    if end != size:
        os.ftruncate(descriptor, end)


def _write_all(descriptor: int, block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_directory(directory: Path) -> None:
    """A file whose name is not on the disk yet is lost with it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
