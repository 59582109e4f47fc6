"""`portreeve kms`: the keys that wrap data keys, the data keys, and how both are exchanged for new ones."""

import asyncio
import sys
from typing import Any, Final

import click

from gateway import kms_keys, settings
from gateway.cli import consent, context, moments, output
from gateway.operations.kms_operations import DataKeyState
from keys.register import Domain

DOMAINS: Final[tuple[Domain, ...]] = ("paper", "live", "service")
COLUMNS: Final = ("id", "environment", "epoch", "state", "secrets", "wrapped_by", "created_at")

with_json = click.option("--json", "as_json", is_flag=True)


@click.group()
def kms() -> None:
    """The KMS keys, and the data keys that they wrap."""


@kms.command()
@with_json
@context.with_config
def status(as_json: bool) -> None:
    """Show every data key: its epoch, what wraps it, and how many secrets are sealed under it."""
    views = [view(one) for one in context.operate(lambda ops, by: ops.kms.status(by))]
    if as_json:
        output.print_json(views)
    else:
        output.print_table(COLUMNS, [[one[column] for column in COLUMNS] for one in views])


@kms.command()
@context.with_config
def create() -> None:
    """Make a configured key that is not there yet, to move to or as a second: a file, or a key in an HSM."""
    configured = context.load_settings()
    with context.reported():
        for line in asyncio.run(_create_missing(configured)):
            output.say(line)


@kms.command()
@click.option(
    "--remove-old", is_flag=True, help="Remove what other keys wrapped, once the configured ones open it."
)
@consent.with_consent
@with_json
@context.with_config
def rewrap(remove_old: bool, as_json: bool) -> None:
    """Wrap every data key by the keys that are configured now. Safe to end and to run again."""
    done = context.operate(lambda ops, by: ops.kms.rewrap(by, remove_old=remove_old, reason=consent.reason()))
    _print(
        {"data_keys": done.data_keys, "added_wrappings": done.added, "removed_wrappings": done.removed},
        as_json=as_json,
    )


@kms.command()
@click.argument("environment", type=click.Choice(DOMAINS))
@consent.with_consent
@with_json
@context.with_config
def rotate(environment: Domain, as_json: bool) -> None:
    """Begin a new epoch: new secrets are sealed under a new data key. `reseal` moves the old ones."""
    made = context.operate(lambda ops, by: ops.kms.rotate(by, environment, reason=consent.reason()))
    _print({"id": made.id, "environment": made.environment, "epoch": made.epoch}, as_json=as_json)


@kms.command()
@consent.with_consent
@with_json
@context.with_config
def reseal(as_json: bool) -> None:
    """Seal what lies under retiring data keys anew, and destroy those with nothing left. Safe to run again.

    Exits with 1 when a secret does not open.
    """
    done = context.operate(lambda ops, by: ops.kms.reseal(by, reason=consent.reason()))
    found = {
        "resealed_secrets": done.secrets,
        "destroyed_data_keys": list(done.destroyed),
        "empty_but_too_young": list(done.waiting),
        "broken": [f"{each.secret_id} version {each.version}" for each in done.broken],
    }
    _print(found, as_json=as_json)
    if done.broken:
        sys.exit(1)


async def _create_missing(configured: settings.Settings) -> list[str]:
    lines = []
    for table in (configured.kms, configured.kms.second):
        if table is None:
            continue
        was_there = await kms_keys.has_key(table)
        if not was_there:
            await kms_keys.create_key(table)
        lines.append(f"{kms_keys.describe(table)} ({'was there' if was_there else 'made'})")
    return lines


def _print(fields: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.print_json(fields)
    else:
        output.print_fields(fields)


def view(found: DataKeyState) -> dict[str, Any]:
    stored = found.key
    return {
        "id": stored.id,
        "environment": stored.environment,
        "epoch": stored.epoch,
        "state": stored.state,
        "secrets": found.sealed,
        "wrapped_by": [f"{each.kms_backend} key {each.kms_key}" for each in stored.wrappings],
        "created_at": moments.show(stored.created_at),
        "retiring_at": moments.show(stored.retiring_at),
        "destroyed_at": moments.show(stored.destroyed_at),
    }
