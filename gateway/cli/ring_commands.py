"""`portreeve rings`: our own signing keys.

Invariant: a step is taken for every ring that was named, or for all of them; what one ring refuses keeps no other
from its step, and makes the command fail.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from gateway.cli import consent, context, moments, output
from gateway.operations.ring_operations import RingVersion, Step

COLUMNS: Final = (
    "ring",
    "kid",
    "version",
    "state",
    "created_at",
    "activates_at",
    "activated_at",
    "retires_at",
)

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group()
def rings() -> None:
    """Our own signing keys."""


def _options(command: Command) -> Command:
    for option in (
        click.option("--json", "as_json", is_flag=True),
        consent.with_consent,
        click.option("--ring", "names", multiple=True, metavar="R", help="Repeatable.  [default: all]"),
    ):
        command = option(command)
    return context.with_config(command)


@rings.command("list")
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def list_(as_json: bool) -> None:
    """Show every ring's keys, oldest first."""
    _print([_view(one) for one in context.operate(lambda ops, by: ops.rings.find_all(by))], as_json=as_json)


@rings.command()
@_options
def announce(names: tuple[str, ...], as_json: bool) -> None:
    """Make the next key: published from now on, signing later."""
    _step("announce", names, as_json=as_json)


@rings.command()
@click.option("--now", is_flag=True, help="Also where somebody may hold a key set without it.")
@_options
def activate(names: tuple[str, ...], now: bool, as_json: bool) -> None:
    """Sign with the announced key."""
    _step("activate", names, now=now, as_json=as_json)


@rings.command()
@click.option("--now", is_flag=True, help="For a leak: revoke the active key, sign with another at once.")
@_options
def rotate(names: tuple[str, ...], now: bool, as_json: bool) -> None:
    """The next step: announce a key, or sign with the announced one."""
    _step("rotate", names, now=now, as_json=as_json)


@rings.command()
@click.argument("kid", metavar="KID")
@consent.with_reason
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def revoke(kid: str, as_json: bool) -> None:
    """Take a key that does not sign out of the key set at once."""
    revoked = context.operate(lambda ops, by: ops.rings.revoke(by, kid, reason=consent.reason()))
    _print([_view(revoked)], as_json=as_json)


def _step(step: Step, names: tuple[str, ...], *, now: bool = False, as_json: bool) -> None:
    done = context.operate(lambda ops, by: ops.rings.step(by, step, names, now=now, reason=consent.reason()))
    taken = [_view(one) for one in done.taken]
    if done.refused:
        for each in taken:
            output.warn(f"{each['ring']}: {each['kid']} is {each['state']}")
        raise click.ClickException("\n".join(done.refused))
    _print(taken, as_json=as_json)


def _print(views: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        output.print_json(views)
    else:
        output.print_table(COLUMNS, [[one[column] for column in COLUMNS] for one in views])


def _view(found: RingVersion) -> dict[str, Any]:
    version = found.version
    return {
        "ring": found.ring,
        "kid": version.public_id,
        "version": version.version,
        "state": version.state,
        "created_at": moments.show(version.created_at),
        "activates_at": moments.show(version.activates_at),
        "activated_at": moments.show(version.activated_at),
        "retires_at": moments.show(version.retires_at),
        "revoked_at": moments.show(version.revoked_at),
    }
