"""`portreeve`: the command line, for operators and for partners trying their keys.

Invariant: what is asked for goes to stdout and everything else to stderr; a refusal exits with 1 and wrong
usage with 2. A secret is printed by the command that made it and by no other, and one that was typed in a wrong place
is not repeated.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import click

from keys import shown

COMMANDS: Final = MappingProxyType(
    {
        "init": "gateway.cli.node:init",
        "serve": "gateway.cli.node:serve",
        "config": "gateway.cli.node:config",
        "doctor": "gateway.cli.doctor:doctor",
        "partners": "gateway.cli.partner_commands:partners",
        "people": "gateway.cli.people_commands:people",
        "keys": "gateway.cli.key_commands:keys",
        "clients": "gateway.cli.client_commands:clients",
        "freeze": "gateway.cli.freeze_commands:freeze",
        "unfreeze": "gateway.cli.freeze_commands:unfreeze",
        "freezes": "gateway.cli.freeze_commands:freezes",
        "nodes": "gateway.cli.node_status_commands:nodes",
        "rings": "gateway.cli.ring_commands:rings",
        "upstreams": "gateway.cli.upstream_commands:upstreams",
        "kms": "gateway.cli.kms_commands:kms",
        "leaks": "gateway.cli.leak_commands:leaks",
        "webhooks": "gateway.cli.webhook_commands:webhooks",
        "secrets": "gateway.cli.secret_commands:secrets",
        "approvals": "gateway.cli.approval_commands:approvals",
        "break-glass": "gateway.cli.break_glass_commands:break_glass",
        "audit": "gateway.cli.audit_commands:audit",
        "request": "gateway.cli.signing_commands:request",
        "sign": "gateway.cli.signing_commands:sign",
        "demo": "gateway.cli.demo_command:demo",
    }
)


class LazyGroup(click.Group):
    """Imports a command when it is asked for: signing a request should not wait for the database layer."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  the same
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  click's signature
        with _masked():
            return super().invoke(ctx)


@contextmanager
def _masked() -> Iterator[None]:
    """Complaints quote what was typed: all of them come by here on their way to stderr."""
    try:
        yield
    except click.ClickException as complaint:
        # Written past the class, which declares it final; what is raised must stay what it is, for its exit code.
        vars(complaint).update(message=shown.mask(complaint.message))
        if isinstance(complaint, click.FileError):
            vars(complaint).update(ui_filename=shown.mask_path(complaint.ui_filename))
        raise


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="PORTREEVE_CONFIG",
    help="Configuration file.  [default: ./portreeve.toml, then ./.portreeve/portreeve.toml]",
)
@click.version_option(package_name="portreeve")
@click.pass_context
def cli(ctx: click.Context, config_file: Path | None) -> None:
    """Portreeve: the gate in front of a trading platform."""
    ctx.obj = config_file


def main() -> None:
    cli(prog_name="portreeve")
