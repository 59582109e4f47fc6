"""`portreeve init`, `serve` and `config check`: what brings a node up."""

import asyncio
import secrets

import click

from gateway import clocks, initialise, own_tls, pools, serving, settings
from gateway.cli import context, output


def _require_usable_tls(configured: settings.Settings) -> None:
    """Whether certificates and keys can be used is known only once they are."""
    pools.build_pools(configured)
    own_tls.require_usable(configured)


def _parse_surfaces(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    named = tuple(dict.fromkeys(name.strip() for name in value.split(",")))
    for name in named:
        if name not in serving.SURFACES:
            raise click.BadParameter(f"{name!r} is none of {', '.join(serving.SURFACES)}")
    return named


@click.command()
@context.with_config
def init() -> None:
    """Prepare the configured store: schema, master key, data keys, signing key. Safe to run again."""
    configured = context.load_settings()
    with context.reported():
        made = asyncio.run(
            initialise.initialise(configured, clocks.wall_ms, secrets.token_bytes, author=context.author())
        )
    for line in made:
        output.say(line)


@click.command()
@click.option(
    "--surface",
    "surfaces",
    metavar="SURFACE,…",
    callback=_parse_surfaces,
    help=f"Which to serve, of {', '.join(serving.SURFACES)}.  [default: all]",
)
@click.option("--workers", type=click.IntRange(1, 256), help="Overrides [server] workers.")
@context.with_config
def serve(surfaces: tuple[str, ...] | None, workers: int | None) -> None:
    """Serve requests until SIGTERM."""
    configured = context.load_settings()
    with context.reported():
        _require_usable_tls(configured)
        serving.serve(configured, surfaces=surfaces, workers=workers)


@click.group()
def config() -> None:
    """The configuration file."""


@config.command()
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def check(as_json: bool) -> None:
    """Say whether the configuration holds, and what it says, without starting anything."""
    configured = context.load_settings()
    with context.reported():
        _require_usable_tls(configured)
    policies = configured.policies
    found = {
        "file": str(configured.file),
        "routes": len(configured.routes),
        "upstreams": sorted(configured.upstreams),
        "permissions": sorted(policies.permissions),
        "roles": sorted(policies.roles),
        "tiers": sorted(policies.tiers),
        "two_persons": policies.approvals.two_persons,
        "deciders": policies.approvals.deciders,
    }
    if as_json:
        output.print_json(found)
    else:
        output.print_fields(found)
        output.say("The configuration holds.")
    if not policies.approvals.two_persons:
        output.warn(
            "WARNING: two_persons = false: any one operator may do everything, and undo every freeze, alone."
        )
