"""What store commands share: the configuration they act on, and the same services that a running node uses.

Invariant: a command opens the configured store, and no other; a failure that has a name becomes one
line on stderr and exit code 1. Unnamed failures stay tracebacks: they are defects, to be seen whole.
"""

import asyncio
import os
import pwd
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from gateway import clocks, composition, operations, settings
from gateway.cli import consent, failures
from gateway.operations.gate import NOTHING, Facts, Standing
from keys.changes import Author

CONFIG_PLACES: Final = (Path("portreeve.toml"), Path(".portreeve/portreeve.toml"))

Made = TypeVar("Made")
Command = TypeVar("Command", bound=Callable[..., Any])


def with_config(command: Command) -> Command:
    """Take `--config` behind the command, too, where people write it."""
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path, dir_okay=False),
        expose_value=False,
        callback=_remember_config,
        is_eager=True,
        help="Configuration file.",
    )(command)


def _remember_config(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.find_root().obj = value


def find_config() -> Path:
    named: Path | None = click.get_current_context().find_root().obj
    if named is not None:
        return named
    for place in CONFIG_PLACES:
        if place.exists():
            return place
    places = " or ".join(f"./{place}" for place in CONFIG_PLACES)
    raise click.ClickException(
        f"there is no configuration: give --config or PORTREEVE_CONFIG, or have {places}"
    )


def load_settings() -> settings.Settings:
    with reported():
        return settings.load(find_config())


def act(action: Callable[[composition.Store, settings.Settings], Awaitable[Made]]) -> Made:
    """Run one action against the configured store."""
    configured = load_settings()

    async def run() -> Made:
        async with composition.opened_store(configured, clocks.wall_ms) as store:
            return await action(store, configured)

    with reported():
        return asyncio.run(run())


async def cleared(  # noqa: PLR0913  what an act is, each by its name
    store: composition.Store,
    configured: settings.Settings,
    *,
    action: str,
    subject: str,
    environment: str | None = None,
    partner: str | None = None,
    change: Mapping[str, Any] | None = None,
    facts: Facts = NOTHING,
    standing: Standing | None = None,
) -> Author:
    """Whom the ledger names for an act that no operation wraps yet, once the gate has let it pass."""
    gate = composition.build_operations(store, configured).gate
    return await gate.pass_(
        operator(),
        action=action,
        subject=subject,
        environment=environment,
        partner=partner,
        change=change,
        facts=facts,
        standing=standing,
        reason=consent.reason(),
    )


def operate(action: Callable[[operations.Operations, operations.Operator], Awaitable[Made]]) -> Made:
    """Run one operation, as whoever has this shell."""
    return act(lambda store, configured: action(composition.build_operations(store, configured), operator()))


@contextmanager
def reported() -> Iterator[None]:
    try:
        yield
    except operations.ApprovalNeeded as need:
        raise consent.SecondPersonNeeded(need.approval) from need
    except failures.KNOWN as error:
        raise click.ClickException(failures.explain(error)) from error


def author(reason: str | None = None) -> Author:
    """Who the audit ledger names: the account on this machine, since nothing else vouches for a shell."""
    return operator().author(reason)


def operator() -> operations.Operator:
    """The account that runs this process, as the system knows it: no variable of the environment is asked."""
    number = os.getuid()
    try:
        account = pwd.getpwuid(number).pw_name
    except KeyError:  # an account number without a name, as containers have
        account = f"uid-{number}"
    return msgspec.structs.replace(
        operations.of_shell(account, socket.gethostname()),
        approval=consent.approval(),
        under_glass=consent.is_under_glass(),
    )
