"""`portreeve nodes`: which nodes serve, and how far the latest change has come."""

from typing import Any, Final

import click

from gateway import spread
from gateway.cli import context, moments, output

COLUMNS: Final = ("id", "state", "revision", "latency_ms", "incomplete", "surfaces", "started_at", "seen_at")


def _read() -> spread.Spread:
    return context.operate(lambda ops, by: ops.nodes.follow(by))


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True)
@context.with_config
@click.pass_context
def nodes(ctx: click.Context, as_json: bool) -> None:
    """Show the nodes that serve, by what each says of itself."""
    if ctx.invoked_subcommand is not None:
        return
    views = [_view(node) for node in _read().nodes]
    if as_json:
        output.print_json(views)
    else:
        output.print_table(COLUMNS, [[one[column] for column in COLUMNS] for one in views])


@nodes.command()
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def status(as_json: bool) -> None:
    """Say in a line which revision is current, and on how many nodes."""
    seen = _read()
    if as_json:
        output.print_json(spread.view(seen))
    elif not seen.nodes:
        output.say(f"revision {seen.revision}: no node is running")
    else:
        output.say(f"revision {seen.revision}: {seen.summary()}")


def _view(node: spread.NodeView) -> dict[str, Any]:
    return {
        "id": node.id,
        "host": node.host,
        "version": node.version,
        "surfaces": node.surfaces,
        "state": node.state,
        "revision": node.revision,
        "latency_ms": node.latency_ms,
        "incomplete": node.incomplete,
        "started_at": moments.show(node.started_at),
        "seen_at": moments.show(node.seen_at),
    }
