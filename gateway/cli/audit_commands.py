"""`portreeve audit`: what was changed, by whom and why."""

from typing import Any, Final

import click

from gateway import composition, settings
from gateway.cli import context, moments, output
from storage import audit as ledger
from storage import engine

COLUMNS: Final = ("seq", "at", "actor", "action", "subject", "environment", "reason")


@click.group()
def audit() -> None:
    """What was changed, by whom and why."""


@audit.command()
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def tail(limit: int, as_json: bool) -> None:
    """Show the latest events, the newest last."""

    async def read(store: composition.Store, _: settings.Settings) -> list[dict[str, Any]]:
        async with engine.reading(store.engine) as conn:
            return [view(entry) for entry in await ledger.tail(conn, limit)]

    views = context.act(read)
    if as_json:
        output.print_json(views)
    else:
        output.print_table(COLUMNS, [[one[column] for column in COLUMNS] for one in views])


def view(entry: ledger.AuditEntry) -> dict[str, Any]:
    event = entry.event
    return {
        "seq": entry.seq,
        "at": moments.show(event.at),
        "actor": event.actor,
        "action": event.action,
        "subject": event.subject,
        "environment": event.environment,
        "reason": event.reason,
        "details": event.details,
    }
