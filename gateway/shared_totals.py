"""How the workers of one node tell each other their totals: a file each, in a folder of the supervisor's.

A scrape reaches one worker, whichever accepts it; it answers for all of them. A file outlives its worker, so what a
crashed worker counted is not lost and no counter goes back. Other workers' numbers are at most a second old.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from gateway.totals import Totals

_EVERY_S = 1.0
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Totals)


class SharedTotals:
    def __init__(self, folder: Path, worker: str, own: Callable[[], Totals]) -> None:
        self._folder = folder
        self._file = folder / f"{worker}.json"
        self._own = own

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            encoded = _ENCODER.encode(self._own())
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self._write, encoded)

    def others(self) -> list[Totals]:
        found: list[Totals] = []
        for file in self._folder.glob("*.json"):
            if file != self._file:
                # A file that vanishes or is half written now is there at the next scrape.
                with contextlib.suppress(OSError, msgspec.MsgspecError):
                    found.append(_DECODER.decode(file.read_bytes()))
        return found

    def _write(self, encoded: bytes) -> None:
        draft = self._file.with_suffix(".draft")
        draft.write_bytes(encoded)
        draft.replace(self._file)
