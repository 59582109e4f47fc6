"""`portreeve break-glass`: to act without a second person for a short while, seen by everybody."""

from typing import Any, Final

import click

from gateway.cli import consent, context, moments, output
from keys.break_glass import Glass

COLUMNS: Final = ("id", "opened_by", "opened_at", "expires_at", "reason")


def _parse_length(_: click.Context, __: click.Parameter, value: str) -> int:
    try:
        return moments.parse_moment(value, 0)
    except moments.UnreadableMoment as error:
        raise click.BadParameter(str(error)) from None


@click.group("break-glass")
def break_glass() -> None:
    """Act without a second person for a short while, seen by everybody."""


@break_glass.command("open")
@click.option(
    "--for",
    "length",
    metavar="T",
    default="15m",
    show_default=True,
    callback=_parse_length,
    help="How long: 15m, 1h.",
)
@click.option("--json", "as_json", is_flag=True)
@consent.with_consent
@context.with_config
def open_(length: int, as_json: bool) -> None:
    """Begin. `--reason` is required; every act under it names it, and so do all nodes, in their logs."""
    reason = consent.reason()
    opened = context.operate(lambda ops, by: ops.break_glass.open(by, length, reason=reason))
    if as_json:
        output.print_json(view(opened))
        return
    output.print_fields(view(opened))
    output.warn("Every act with --break-glass is marked in the audit ledger. Close it as soon as you can.")


@break_glass.command()
@click.argument("glass_id", metavar="[ID]", required=False)
@click.option("--json", "as_json", is_flag=True)
@consent.with_reason
@context.with_config
def close(glass_id: str | None, as_json: bool) -> None:
    """End your own, or the one with this id."""
    reason = consent.reason()
    closed = context.operate(lambda ops, by: ops.break_glass.close(by, glass_id, reason=reason))
    _print(closed, "You have none open: `break-glass status` shows whose are.", as_json=as_json)


@break_glass.command()
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def status(as_json: bool) -> None:
    """Show what is open, and whose."""
    found = context.operate(lambda ops, by: ops.break_glass.find_all_open(by))
    _print(found, "None is open.", as_json=as_json)


def _print(glasses: Any, nothing: str, *, as_json: bool) -> None:  # noqa: ANN401  a list or a tuple of them
    views = [view(glass) for glass in glasses]
    if as_json:
        output.print_json(views)
    else:
        output.print_table(COLUMNS, [[one[column] for column in COLUMNS] for one in views])
        if not views:
            output.warn(nothing)


def view(glass: Glass) -> dict[str, Any]:
    return {
        "id": glass.id,
        "opened_by": glass.opened_by,
        "opened_at": moments.show(glass.opened_at),
        "expires_at": moments.show(glass.expires_at),
        "reason": glass.reason,
        "closed_at": moments.show(glass.closed_at),
        "closed_by": glass.closed_by,
    }
