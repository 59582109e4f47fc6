"""What this host remembers of the audit ledger: the last checkpoint that one of its processes made or saw.

It lies in the state directory, out of reach of whoever has the database's password: they can take checkpoints away and
link everything anew, and what they put there does not contain what is remembered here.

Invariant: memory goes forward only, until somebody replaces it on purpose; a process that dies leaves the old or the
new one, whole. Refuses a file that is not what is kept here, by name: to pass over it would be to forget.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

import msgspec

from keys import statements
from storage import chain, merkle

FILE_NAME: Final = "ledger.remembered"

_LOCK_NAME: Final = "ledger.lock"
_FORMAT: Final = "portreeve-ledger-memory/1"
_LARGEST: Final = 65_536


class MemoryUnreadable(Exception):
    """There is a memory, and nobody knows what it says."""

    def __init__(self, file: Path) -> None:
        super().__init__(
            f"{file} is not what was kept there of the audit ledger: nothing is signed. Compare the ledger with an "
            "export kept elsewhere (`portreeve audit verify`), then say so: `portreeve audit acknowledge`"
        )


class Remembered(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A checkpoint: `seq` entries with this root, the last of them with this hash. `peaks` lead on from there."""

    seq: int
    root: str
    hash: str
    peaks: tuple[str, ...]

    @property
    def mark(self) -> statements.Mark:
        return statements.Mark(self.seq, self.root)

    @property
    def place(self) -> chain.Place:
        return chain.Place(self.seq, self.hash)

    def read_peaks(self) -> merkle.Peaks:
        """Raises ValueError if they do not make the root."""
        peaks = merkle.Peaks(self.seq, tuple(map(bytes.fromhex, self.peaks)))
        if not peaks.is_whole() or peaks.root().hex() != self.root:
            raise ValueError
        return peaks


# A ledger of which nothing has been signed yet, and that is known.
NOTHING: Final = Remembered(0, merkle.EMPTY_ROOT.hex(), chain.BEFORE_THE_FIRST, ())


def of(checkpoint: statements.Checkpoint) -> Remembered:
    return Remembered(checkpoint.seq, checkpoint.root, checkpoint.hash, checkpoint.peaks)


class Memory(Protocol):
    """Blocks for as long as a file takes. `lasts`: beyond this process. Failure: `MemoryUnreadable`, OSError."""

    @property
    def lasts(self) -> bool: ...
    def recall(self) -> Remembered | None:
        """None if nothing is remembered."""

    def keep(self, seen: Remembered) -> None:
        """Unless something later is remembered by now; at once with that look."""

    def replace(self, seen: Remembered) -> None:
        """Whatever is remembered, and also where that cannot be read."""


class InProcess:
    lasts: Final = False

    def __init__(self) -> None:
        self._seen: Remembered | None = None

    def recall(self) -> Remembered | None:
        return self._seen

    def keep(self, seen: Remembered) -> None:
        if self._seen is None or self._seen.seq < seen.seq:
            self._seen = seen

    def replace(self, seen: Remembered) -> None:
        self._seen = seen


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    remembered: Remembered


class InFile:
    lasts: Final = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / FILE_NAME

    def recall(self) -> Remembered | None:
        try:
            with self._file.open("rb") as opened:
                content = opened.read(_LARGEST)
        except FileNotFoundError:
            return None
        try:
            kept = msgspec.json.decode(content, type=_Kept)
            kept.remembered.read_peaks()
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise MemoryUnreadable(self._file) from None
        if kept.format != _FORMAT:
            raise MemoryUnreadable(self._file)
        return kept.remembered

    def keep(self, seen: Remembered) -> None:
        with self._alone():
            earlier = self.recall()
            if earlier is None or earlier.seq < seen.seq:
                self._write(seen)

    def replace(self, seen: Remembered) -> None:
        with self._alone():
            self._write(seen)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """The workers of a node and commands beside it share the file."""
        lock = os.open(self._folder / _LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._hand_over(lock)
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _write(self, seen: Remembered) -> None:
        draft = self._file.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as opened:
            self._hand_over(descriptor)
            opened.write(msgspec.json.encode(_Kept(_FORMAT, seen)) + b"\n")
            opened.flush()
            os.fsync(descriptor)
        draft.replace(self._file)

    def _hand_over(self, descriptor: int) -> None:
        """What root's shell makes here is the service's, whose directory it is."""
        if os.geteuid() == 0:
            owner = self._folder.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def open_memory(folder: Path) -> Memory:
    """In the process alone where there is no directory to write to. A memory that is there is never passed over."""
    usable = folder.is_dir() and ((folder / FILE_NAME).exists() or os.access(folder, os.W_OK))
    return InFile(folder) if usable else InProcess()
