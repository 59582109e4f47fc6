"""`portreeve leaks`: credentials that were found where they should not be."""

from typing import Any, Final

import click

from gateway.cli import context, output
from keys.leaks import Suspect, Verdict
from keys.secret import Secret

COLUMNS: Final = ("line", "outcome", "key", "version", "partner")


@click.group()
def leaks() -> None:
    """Credentials that were found where they should not be."""


@leaks.command()
# What was found may lie in anything: one line that is no text keeps no other from being looked at.
@click.argument("file", type=click.File("r", encoding="utf-8", errors="replace"), metavar="FILE")
@click.option("--place", default="", help="Where they were found; goes into the audit ledger.")
@click.option("--reason", help="Goes into the audit ledger.")
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def report(file: Any, place: str, reason: str | None, as_json: bool) -> None:  # noqa: ANN401  click's open file
    """Freeze the keys whose secrets stand in FILE, one a line; `-` reads them from stdin."""
    lines = {number: line.strip() for number, line in enumerate(file, start=1) if line.strip()}
    suspects = [Suspect(Secret(line), place) for line in lines.values()]
    verdicts = context.operate(lambda ops, by: ops.leaks.report(by, suspects, reason=reason))
    views = [_view(number, verdict) for number, verdict in zip(lines, verdicts, strict=True)]
    if as_json:
        output.print_json(views)
    else:
        output.print_table(COLUMNS, [[one[column] for column in COLUMNS] for one in views])


def _view(line: int, verdict: Verdict) -> dict[str, Any]:
    """The secrets themselves are not shown again: its line in the file says which it was."""
    return {
        "line": line,
        "outcome": verdict.outcome,
        "key": verdict.key_id,
        "version": verdict.version,
        "partner": verdict.partner,
    }
