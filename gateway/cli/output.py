"""What commands say: tables for people, JSON for scripts, one of the two and nothing beside it on stdout."""

from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text


def say(message: str) -> None:
    click.echo(message)


def warn(message: str) -> None:
    click.echo(message, err=True)


def print_json(value: object) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # Text, not markup: what partners chose as a label must not be read as instructions to the terminal.
        table.add_row(*(Text(_show(cell)) for cell in row))
    # Ids are copied out of tables: on a pipe nothing may fold them.
    _console().print(table)


def print_fields(fields: Mapping[str, Any]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in fields.items():
        table.add_row(Text(name.replace("_", " ")), Text(_show(value)))
    _console().print(table)


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=10_000)


def _show(cell: object) -> str:
    match cell:
        case None | () | []:
            return "-"
        case bool():
            return "yes" if cell else "no"
        case list() | tuple():
            return ", ".join(_show(one) for one in cell)
        case dict():
            # What an approval or an entry of the ledger tells can be nested: in JSON, not as Python would write it.
            return _printable(msgspec.json.format(msgspec.json.encode(cell), indent=0).decode())
        case _:
            return _printable(str(cell))


def _printable(text: str) -> str:
    """Control characters could move the cursor; labels and reasons are the partner's to choose."""
    return "".join(c if c.isprintable() else "�" for c in text)
