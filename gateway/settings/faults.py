"""What is wrong with a configuration, and where: gathered, so that one run names all of it."""

import re
from collections.abc import Iterable

from msgspec import Struct


class Fault(Struct, frozen=True):
    """`place` is the way to it inside the file, empty for the file as a whole; `file` names another one."""

    place: str
    problem: str
    file: str | None = None


class SettingsError(Exception):
    """A configuration that cannot be used. One line a fault; none of them shows a secret."""

    def __init__(self, source: str, faults: Iterable[Fault]) -> None:
        self.source = source
        self.faults = tuple(faults)
        lines = (
            ": ".join(filter(None, (fault.file or source, fault.place, fault.problem)))
            for fault in self.faults
        )
        super().__init__("\n".join(lines))


def quote_key(key: str) -> str:
    """A key as TOML writes it, so that it can be searched for."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else f'"{key}"'
