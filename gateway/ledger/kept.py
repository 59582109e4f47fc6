"""What an auditor keeps between audits, read from files: keys to trust, and how far an earlier export went.

Refuses files that are not what they are given for; an empty set of keys is one of them, since it would trust nothing
or, worse, be taken for no wish at all.
"""

from pathlib import Path
from typing import Any

import msgspec

from gateway.ledger import verify
from keys import statements
from keys.refusals import InvalidRequest


class UnusableFile(InvalidRequest):
    field = "file"


def read_pins(jwks_file: Path | None, kids: tuple[str, ...]) -> verify.Pins:
    if jwks_file is None:
        return verify.Pins(kids=frozenset(kids))
    match _decode(jwks_file.read_bytes()):
        case {"keys": [_, *_] as found}:
            pass
        case _:
            raise UnusableFile(f"{jwks_file} is no JWKS")
    try:
        statements.public_keys(found)
    except statements.StatementRefused as failure:
        raise UnusableFile(f"{jwks_file} {failure}") from None
    return verify.Pins(tuple(found), frozenset(kids))


def read_marks(export: Path | None) -> list[statements.Mark]:
    """Of an export that was verified when it was kept: where it ended, and over what."""
    if export is None:
        return []
    with export.open("rb") as opened:
        last = b""
        while line := opened.readline(verify.LONGEST_LINE):
            last = line
    match _decode(last):
        case {"end": str() as statement}:
            return [_read_mark(export, statement)]
        case _:
            raise UnusableFile(f"{export} does not end as an export does")


def _read_mark(export: Path, statement: str) -> statements.Mark:
    try:
        return statements.read_unverified_mark(statement)
    except statements.StatementRefused as failure:
        raise UnusableFile(f"{export} has an end that {failure}") from None


def _decode(content: bytes) -> Any:  # noqa: ANN401  any JSON, or nothing
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError):
        return None
