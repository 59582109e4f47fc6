"""What an auditor keeps between audits, read from files: keys to trust, and how far an earlier export went.

Refuses files that are not what they are given for; an empty set of keys is one of them, since it would trust nothing
or, worse, be taken for no wish at all.
"""

import re
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.ledger import verify
from keys import statements
from keys.refusals import InvalidRequest

# Of a checkpoint, as `audit checkpoint` and `audit verify` tell it.
_MARK: Final = re.compile(r"([1-9][0-9]{0,14}):([0-9a-f]{64})", re.ASCII)
_MEANT_AS_MARK: Final = re.compile(r"[0-9]+:[^/]*")


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


def read_marks(kept: str | None) -> list[statements.Mark]:
    """Of an export that was verified when it was kept: where it ended, and over what. Or that itself, `SEQ:ROOT`."""
    if kept is None:
        return []
    if said := _MARK.fullmatch(kept):
        return [statements.Mark(int(said[1]), said[2])]
    export = Path(kept)
    if _MEANT_AS_MARK.fullmatch(kept) and not export.exists():
        raise UnusableFile(f"{kept:.80}: a root is 64 lowercase hex digits, as in 42:9ce3…")
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
