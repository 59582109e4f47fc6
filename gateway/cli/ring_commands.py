"""`portreeve rings`: our own signing keys.

Invariant: a step is taken for every ring that was named, or for all of them; what one ring refuses keeps no other
from its step, and makes the command fail.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import click

from gateway import composition, settings
from gateway.cli import context, moments, output
from keys import refusals
from keys.records import SecretVersion
from keys.ring_rotation import RingRotation, UnknownRingKey

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
Step = Callable[[RingRotation], Awaitable[SecretVersion]]


class UnknownRing(refusals.NotFound):
    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"there is no ring {name!r:.80}: {', '.join(known)}")


@click.group()
def rings() -> None:
    """Our own signing keys."""


def _options(command: Command) -> Command:
    for option in (
        click.option("--json", "as_json", is_flag=True),
        click.option("--reason", help="Goes into the audit ledger."),
        click.option("--ring", "names", multiple=True, metavar="R", help="Repeatable.  [default: all]"),
    ):
        command = option(command)
    return context.with_config(command)


@rings.command("list")
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def list_(as_json: bool) -> None:
    """Show every ring's keys, oldest first."""

    async def gather(store: composition.Store, _: settings.Settings) -> list[dict[str, Any]]:
        return [
            _view(name, version)
            for name, ring in store.rings.items()
            for version in await ring.list_versions()
        ]

    _print(context.act(gather), as_json=as_json)


@rings.command()
@_options
def announce(names: tuple[str, ...], reason: str | None, as_json: bool) -> None:
    """Make the next key: published from now on, signing later."""
    author = context.author(reason)
    _step(names, lambda ring: ring.announce(author=author), as_json=as_json)


@rings.command()
@click.option("--now", is_flag=True, help="Also where somebody may hold a key set without it.")
@_options
def activate(names: tuple[str, ...], reason: str | None, now: bool, as_json: bool) -> None:
    """Sign with the announced key."""
    author = context.author(reason)
    _step(names, lambda ring: ring.activate(author=author, now=now), as_json=as_json)


@rings.command()
@click.option("--now", is_flag=True, help="For a leak: revoke the active key, sign with another at once.")
@_options
def rotate(names: tuple[str, ...], reason: str | None, now: bool, as_json: bool) -> None:
    """The next step: announce a key, or sign with the announced one."""
    author = context.author(reason)
    _step(names, lambda ring: ring.rotate(author=author, now=now), as_json=as_json)


@rings.command()
@click.argument("kid", metavar="KID")
@click.option("--reason", help="Goes into the audit ledger.")
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def revoke(kid: str, reason: str | None, as_json: bool) -> None:
    """Take a key that does not sign out of the key set at once."""

    async def apply(store: composition.Store, _: settings.Settings) -> dict[str, Any]:
        for name, ring in store.rings.items():
            if any(version.public_id == kid for version in await ring.list_versions()):
                return _view(name, await ring.revoke(kid, author=context.author(reason)))
        raise UnknownRingKey(" or any other ".join(store.rings), kid)

    _print([context.act(apply)], as_json=as_json)


def _step(names: tuple[str, ...], step: Step, *, as_json: bool) -> None:
    refused: list[str] = []

    async def take(store: composition.Store, _: settings.Settings) -> list[dict[str, Any]]:
        taken = []
        for name in names or tuple(store.rings):
            ring = store.rings.get(name)
            if ring is None:
                raise UnknownRing(name, sorted(store.rings))
            try:
                taken.append(_view(name, await step(ring)))
            except refusals.Conflict as refusal:
                refused.append(str(refusal))
        return taken

    taken = context.act(take)
    if refused:
        for each in taken:
            output.warn(f"{each['ring']}: {each['kid']} is {each['state']}")
        raise click.ClickException("\n".join(refused))
    _print(taken, as_json=as_json)


def _print(views: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        output.print_json(views)
    else:
        output.print_table(COLUMNS, [[one[column] for column in COLUMNS] for one in views])


def _view(ring: str, version: SecretVersion) -> dict[str, Any]:
    return {
        "ring": ring,
        "kid": version.public_id,
        "version": version.version,
        "state": version.state,
        "created_at": moments.show(version.created_at),
        "activates_at": moments.show(version.activates_at),
        "activated_at": moments.show(version.activated_at),
        "retires_at": moments.show(version.retires_at),
        "revoked_at": moments.show(version.revoked_at),
    }
