"""What a process whose memory is the replay store leaves to the next one: the nonces it has taken.

Invariant: a successor either knows every nonce that any predecessor took, or knows that it does not. A marker stands
while a process serves, and only that process takes it away, after it has written its nonces; whoever finds a marker
on arriving finds that somebody ended without handing over, or still serves.
Refuses a file that is not whole: then nothing is known, which is safe.
"""

import contextlib
import os
from pathlib import Path

import msgspec

from auth.admission.nonces import DIGEST_BYTES

_MARKER = "replay.serving"
_KEPT = "replay.nonces"
_VERSION = b"portreeve nonces 1\n"


class Inheritance(msgspec.Struct, frozen=True):
    """`complete`: nothing that was taken before is missing from `nonces`."""

    nonces: tuple[bytes, ...]
    complete: bool


class Handover:
    def __init__(self, folder: Path, process: str) -> None:
        self._marker = folder / _MARKER
        self._kept = folder / _KEPT
        self._process = process.encode()

    def arrive(self) -> Inheritance:
        abandoned = self._marker.exists()
        # The marker first: should this process end in between, the next one knows that it knows nothing.
        _write(self._marker, self._process)
        nonces = self._read()
        self._kept.unlink(missing_ok=True)
        return Inheritance(nonces or (), complete=not abandoned and nonces is not None)

    def leave(self, nonces: tuple[bytes, ...]) -> None:
        if not self._is_ours():
            return
        _write(self._kept, _VERSION + b"".join(nonces))
        self._marker.unlink()

    def _read(self) -> tuple[bytes, ...] | None:
        """None if there is something and it cannot be understood; nothing at all is an empty beginning."""
        try:
            content = self._kept.read_bytes()
        except FileNotFoundError:
            return ()
        body = content.removeprefix(_VERSION)
        if body == content or len(body) % DIGEST_BYTES:
            return None
        return tuple(body[at : at + DIGEST_BYTES] for at in range(0, len(body), DIGEST_BYTES))

    def _is_ours(self) -> bool:
        """A second process on the same folder has put its own marker there: then there is no one line to hand on."""
        with contextlib.suppress(OSError):
            return self._marker.read_bytes() == self._process
        return False


def _write(file: Path, content: bytes) -> None:
    draft = file.with_suffix(".draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(descriptor)
    draft.replace(file)
