"""The lines of an export: JSON Lines, each an object with one member that says what the line is.

    header      what this is, from which entry on, and the keys that signed it
    entry       an entry, whole
    leaf        an entry outside what was asked for, by its hash alone: it leads from or to the nearest checkpoint
    checkpoint  a signed checkpoint of everything up to here
    end         the signed end: which entries stand in this export, and where its lines lead

Invariant: there is one way to write a line, the canonical form of `chain`; two exports of one ledger differ only
where they say when they were made.
"""

from collections.abc import Mapping
from typing import Any, Final

from storage import chain

FORMAT: Final = "portreeve-audit/1"


def header(service: str, first: int, keys: list[dict[str, str]]) -> bytes:
    return _line("header", {"format": FORMAT, "service": service, "first": first, "keys": keys})


def entry(members: Mapping[str, Any]) -> bytes:
    return _line("entry", members)


def leaf(place: chain.Place) -> bytes:
    return _line("leaf", {"seq": place.seq, "hash": place.hash})


def checkpoint(statement: str) -> bytes:
    return _line("checkpoint", statement)


def end(statement: str) -> bytes:
    return _line("end", statement)


def _line(kind: str, content: object) -> bytes:
    return chain.canonical({kind: content}) + b"\n"
