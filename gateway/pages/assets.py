"""The style and the script of the pages: few files of our own, each at an address that changes with its content.

Invariant: what is served stands in `assets/`, read once; an address names exactly one content, so it may be kept for
ever. No other file can be asked for.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import msgspec

_PLACE: Final = Path(__file__).parent / "assets"
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
ROOT: Final = "/oauth/assets/"


class Asset(msgspec.Struct, frozen=True):
    media_type: str
    content: bytes


class Assets:
    def __init__(self, place: Path = _PLACE) -> None:
        self._served: dict[str, Asset] = {}
        self._addresses: dict[str, str] = {}
        for file in sorted(place.iterdir()):
            content = file.read_bytes()
            served = f"{file.stem}-{hashlib.sha256(content).hexdigest()[:16]}{file.suffix}"
            self._served[served] = Asset(_TYPES[file.suffix], content)
            self._addresses[file.name] = ROOT + served

    def address(self, name: str) -> str:
        return self._addresses[name]

    def find(self, served: str) -> Asset | None:
        return self._served.get(served)
