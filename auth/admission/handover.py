"""What a process whose memory is the replay store leaves to the next one: the nonces it has taken.

Invariant: a successor either knows every nonce that a predecessor took and that could still be fresh, or knows that
it does not. A marker stands while a process serves, locked; only an orderly end that leaves nothing out takes it away.
It stays where a process ended without handing over, where two served at once, and where one that had found it did not
serve long enough for what was missing to go stale.
Refuses a file that is not whole: then nothing is known, which is safe.
"""

import contextlib
import fcntl
import os
from pathlib import Path

import msgspec

from auth.admission.nonces import DIGEST_BYTES

_MARKER = "replay.serving"
_KEPT = "replay.nonces"
_CROWDED = "replay.crowded"
_VERSION = b"portreeve nonces 1\n"


class Inheritance(msgspec.Struct, frozen=True):
    """`complete`: nothing that was taken before is missing from `nonces`."""

    nonces: tuple[bytes, ...]
    complete: bool


def begin(folder: Path) -> None:
    """For a store that is being made: nothing has been taken yet, and that is known."""
    if not (folder / _MARKER).exists() and not (folder / _KEPT).exists():
        _write(folder / _KEPT, _VERSION)


class Handover:
    def __init__(self, folder: Path, stale_after_ms: int) -> None:
        self._marker = folder / _MARKER
        self._kept = folder / _KEPT
        self._crowded = folder / _CROWDED
        self._stale_after_ms = stale_after_ms
        self._lock: int | None = None
        self._arrived_ms = 0
        self._complete = False

    def arrive(self, now_ms: int) -> Inheritance:
        """`now_ms` is monotonic: it measures how long this process serves."""
        found = self._marker.exists()
        descriptor = os.open(self._marker, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Another process serves from this folder: neither knows all, and whoever comes next has to be told.
            os.close(descriptor)
            _write(self._crowded, b"")
            return Inheritance((), complete=False)
        self._lock, self._arrived_ms = descriptor, now_ms
        self._crowded.unlink(missing_ok=True)
        nonces = self._read()
        self._kept.unlink(missing_ok=True)
        self._complete = not found and nonces is not None
        return Inheritance(nonces or (), complete=self._complete)

    def leave(self, nonces: tuple[bytes, ...], now_ms: int) -> None:
        if self._lock is None:
            return
        whole = self._complete or now_ms - self._arrived_ms > self._stale_after_ms
        if whole and not self._crowded.exists():
            _write(self._kept, _VERSION + b"".join(nonces))
            self._marker.unlink()
        os.close(self._lock)
        self._lock = None

    def _read(self) -> tuple[bytes, ...] | None:
        """None if nothing was left here, or nothing that can be understood: a folder that is new to an old store
        knows nothing of what was taken elsewhere.
        """
        try:
            content = self._kept.read_bytes()
        except FileNotFoundError:
            return None
        body = content.removeprefix(_VERSION)
        if body == content or len(body) % DIGEST_BYTES:
            return None
        return tuple(body[at : at + DIGEST_BYTES] for at in range(0, len(body), DIGEST_BYTES))


def _write(file: Path, content: bytes) -> None:
    draft = file.with_suffix(".draft")
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(descriptor)
    draft.replace(file)
