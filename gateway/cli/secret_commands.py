"""`portreeve secrets`: the versions of every secret, whatever its kind, and what is due of them.

Invariant: a new secret is printed once, by the `rotate` that made it; no other command has it to print.
"""

from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Final, get_args

import click

from gateway import clocks, durations, spread
from gateway.cli import consent, context, jwk_files, moments, node_status_commands, output, spreading
from gateway.operations import Operations, Operator
from keys import public_jwks, rotation
from keys.due import Action
from keys.held import HeldSecret
from keys.kinds import Offer
from keys.records import SecretVersion, VersionState
from keys.register import Domain, Kind
from keys.rotations import Rotated, Wish
from keys.secret_pages import Wanted

COLUMNS: Final = ("id", "kind", "environment", "partner", "label", "version", "state", "since", "overlap_ends",
                  "last_used_at", "use_count")  # fmt: skip
PLAN_COLUMNS: Final = ("at", "step", "id", "kind", "environment", "partner", "version", "ending", "ends_at",
                       "last_used_at", "last_used_source")  # fmt: skip
RUN_COLUMNS: Final = ("step", "id", "version", "outcome")
VERSION_COLUMNS: Final = ("version", "state", "activates_at", "activated_at", "retires_at", "revoked_at",
                          "destroyed_at", "last_used_at", "last_used_source", "use_count")  # fmt: skip
DOMAINS: Final = ("paper", "live", "service")


def _parse_hex(_: click.Context, __: click.Parameter, value: str | None) -> bytes | None:
    try:
        return None if value is None else bytes.fromhex(value)
    except ValueError:
        raise click.BadParameter("not hex") from None


def _parse_duration(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else durations.parse(value)
    except durations.UnreadableDuration as error:
        raise click.BadParameter(str(error)) from None


_overlap = click.option(
    "--overlap",
    "overlap_ms",
    metavar="D",
    callback=_parse_duration,
    help="For how long the version before goes on verifying: 7d, 12h, 0s.  [default: the schedule's]",
)
_even_if_used = click.option("--even-if-used", is_flag=True, help="Although somebody would be refused by it.")
_json = click.option("--json", "as_json", is_flag=True)


@click.group()
def secrets() -> None:
    """The versions of every secret: rotate, retire, revoke."""


# How far the latest change has come: a rotation is over when every node serves it.
secrets.add_command(node_status_commands.status)


@secrets.command("list")
@click.option("--kind", type=click.Choice(get_args(Kind)))
@click.option("--environment", type=click.Choice(DOMAINS))
@click.option("--partner", metavar="P")
@click.option("--state", type=click.Choice(get_args(VersionState)), help="Those with a version in it.")
@_json
@context.with_config
def list_(
    kind: Kind | None,
    environment: Domain | None,
    partner: str | None,
    state: VersionState | None,
    as_json: bool,
) -> None:
    """Show secrets and what verifies of them, oldest first."""
    wanted = Wanted(kind=kind, environment=environment, partner=partner, state=state)

    async def gather(ops: Operations, by: Operator) -> list[HeldSecret]:
        page = await ops.secrets.find_page(by, wanted)
        found = [*page.secrets]
        while page.after is not None:
            page = await ops.secrets.find_page(by, wanted, after=page.after)
            found += page.secrets
        return found

    found = context.operate(gather)
    if as_json:
        output.print_json([view(secret) for secret in found])
    else:
        rows = [row for secret in found for row in _list_rows(secret)]
        output.print_table(COLUMNS, [[one[column] for column in COLUMNS] for one in rows])


@secrets.command()
@click.argument("secret_id", metavar="ID")
@_json
@context.with_config
def show(secret_id: str, as_json: bool) -> None:
    """Show all versions of one secret."""
    _print(context.operate(lambda ops, by: ops.secrets.get(by, secret_id)), as_json=as_json)


@secrets.command()
@click.option(
    "--until",
    metavar="T",
    callback=moments.parse_option,
    help="RFC 3339, or from now: 12h, 90d.  [default: 30d]",
)
@_json
@context.with_config
def plan(until: int | None, as_json: bool) -> None:
    """Say what would happen by itself, when, and to whom. Changes nothing."""
    until_ms = moments.parse_moment("30d", clocks.wall_ms()) if until is None else until

    async def gather(ops: Operations, by: Operator) -> list[Action]:
        page = await ops.secrets.plan_page(by, until_ms)
        found = [*page.actions]
        while page.after is not None:
            page = await ops.secrets.plan_page(by, until_ms, after=page.after)
            found += page.actions
        # Stable: what follows from one another at one moment stays in that order.
        return sorted(found, key=lambda action: action.at)

    views = [_view_action(action) for action in context.operate(gather)]
    if as_json:
        output.print_json(views)
    else:
        output.print_table(PLAN_COLUMNS, [[one[column] for column in PLAN_COLUMNS] for one in views])


@secrets.command()
@click.argument("secret_id", metavar="ID")
@_overlap
@click.option("--public-key", metavar="HEX", callback=_parse_hex, help="An ed25519 key's new public half.")
@click.option("--jwk", "jwk_file", type=click.Path(path_type=Path), help="An OAuth client's new public key.")
@click.option(
    "--proof", metavar="HEX", callback=_parse_hex, help="Made with the new private key: docs/rotation.md."
)
@click.option("--prepare", is_flag=True, help="Make it, and let it serve only after `secrets activate`.")
@click.option(
    "--at",
    "activates_at",
    metavar="T",
    callback=moments.parse_option,
    help="Make it, and let it serve from T.",
)
@click.option(
    "--lost", "replaces_lost", is_flag=True, help="The active one never arrived: end that, keep the older."
)
@_even_if_used
@consent.with_consent
@_json
@context.with_config
def rotate(
    secret_id: str,
    *,
    public_key: bytes | None,
    jwk_file: Path | None,
    proof: bytes | None,
    as_json: bool,
    **wished: Any,  # noqa: ANN401  click hands the options on
) -> None:
    """Make a new version of a secret. Prints the new secret, this once."""
    if jwk_file is not None:
        if public_key is not None:
            raise click.UsageError("--public-key and --jwk: a new version has one key")
        public_key = jwk_files.read(jwk_file)
    wish, offer = Wish(**wished), Offer(public_key=public_key, proof=proof)

    def apply(ops: Operations, by: Operator) -> Awaitable[Rotated]:
        return ops.secrets.rotate(by, secret_id, wish, offer, reason=consent.reason())

    _print_rotated(context.operate(apply), as_json=as_json)


@secrets.command()
@click.argument("secret_id", metavar="ID")
@_overlap
@_even_if_used
@consent.with_consent
@_json
@context.with_config
def activate(secret_id: str, overlap_ms: int | None, even_if_used: bool, as_json: bool) -> None:
    """Let the version that was prepared serve."""

    def apply(ops: Operations, by: Operator) -> Awaitable[HeldSecret]:
        return ops.secrets.activate(
            by, secret_id, overlap_ms=overlap_ms, even_if_used=even_if_used, reason=consent.reason()
        )

    _print(context.operate(apply), as_json=as_json)


@secrets.command()
@click.argument("secret_id", metavar="ID")
@click.option("--version", type=click.IntRange(1), metavar="N", help="Which.  [default: the retiring one]")
@_even_if_used
@consent.with_consent
@_json
@context.with_config
def retire(secret_id: str, version: int | None, even_if_used: bool, as_json: bool) -> None:
    """End an overlap before its time."""

    def apply(ops: Operations, by: Operator) -> Awaitable[HeldSecret]:
        return ops.secrets.retire(by, secret_id, version, even_if_used=even_if_used, reason=consent.reason())

    _print(context.operate(apply), as_json=as_json)


@secrets.command()
@click.argument("secret_id", metavar="ID")
@click.option("--version", type=click.IntRange(1), metavar="N", help="Which.  [default: all, for good]")
@consent.with_reason
@_json
@context.with_config
def revoke(secret_id: str, version: int | None, as_json: bool) -> None:
    """Refuse a version at once, or a secret whole and for good, whoever uses it."""

    def apply(ops: Operations, by: Operator) -> Awaitable[HeldSecret]:
        return ops.secrets.revoke(by, secret_id, version, reason=consent.reason())

    revoked, seen = spreading.operate(apply)
    _print(revoked, seen, as_json=as_json)


@secrets.command()
@click.argument("secret_id", metavar="ID")
@click.option("--version", type=click.IntRange(1), metavar="N", required=True, help="A revoked one.")
@consent.with_consent
@_json
@context.with_config
def destroy(secret_id: str, version: int, as_json: bool) -> None:
    """Wipe what a revoked version was made of, before its time."""

    def apply(ops: Operations, by: Operator) -> Awaitable[HeldSecret]:
        return ops.secrets.destroy(by, secret_id, version, reason=consent.reason())

    _print(context.operate(apply), as_json=as_json)


@secrets.command()
@_json
@context.with_config
def run(as_json: bool) -> None:
    """Do now what is due, as the scheduler would."""
    outcomes = context.operate(lambda ops, by: ops.secrets.run_due(by))
    views = [{**_view_action(one.action), "outcome": one.failure or "done"} for one in outcomes]
    if as_json:
        output.print_json(views)
    else:
        output.print_table(RUN_COLUMNS, [[one[column] for column in RUN_COLUMNS] for one in views])
    if any(one.failure is not None for one in outcomes):
        raise click.ClickException("not everything that is due could be done")


def _print_rotated(rotated: Rotated, *, as_json: bool) -> None:
    made = rotation.get(rotated.secret.versions, rotated.version)
    retiring = rotation.find_retiring(rotated.secret.versions)
    fields = {
        "id": rotated.secret.id,
        "version": rotated.version,
        **({} if rotated.shown is None else {"secret": rotated.shown.reveal()}),
        "state": made.state,
        "activates_at": moments.show(made.activates_at),
        "replaces": rotated.replaced,
        "overlap_ends": None if retiring is None else moments.show(retiring.retires_at),
    }
    if as_json:
        output.print_json({**view(rotated.secret), **fields})
        return
    output.print_fields(fields)
    if rotated.shown is not None:
        output.warn("The secret is shown this once and can't be had again: store it now.")


def _print(secret: HeldSecret, seen: spread.Spread | None = None, *, as_json: bool) -> None:
    shown = view(secret)
    if as_json:
        output.print_json(shown | spreading.view(seen))
        return
    versions = shown.pop("versions")
    output.print_fields(shown)
    output.say("")
    output.print_table(VERSION_COLUMNS, [[one[column] for column in VERSION_COLUMNS] for one in versions])
    spreading.tell(seen)


def view(secret: HeldSecret) -> dict[str, Any]:
    return {
        "id": secret.id,
        "kind": secret.kind,
        "environment": secret.environment,
        "partner": secret.partner,
        "label": secret.label,
        "created_at": moments.show(secret.created_at),
        "expires_at": moments.show(secret.expires_at),
        "versions": [_view_version(version) for version in secret.versions],
    }


def _view_version(version: SecretVersion) -> dict[str, Any]:
    times = ("created_at", "activates_at", "activated_at", "retiring_at", "retires_at", "revoked_at", "destroyed_at",
             "last_used_at")  # fmt: skip
    return {
        "version": version.version,
        "state": version.state,
        "public_key": None if version.public_key is None else public_jwks.write(version.public_key),
        "public_id": version.public_id,
        **{name: moments.show(getattr(version, name)) for name in times},
        "last_used_source": version.last_used_source,
        "use_count": version.use_count,
    }


def _list_rows(secret: HeldSecret) -> list[dict[str, Any]]:
    """A row for each living version; for a secret without one, its last."""
    living = [each for each in secret.versions if each.state in rotation.LIVING] or list(secret.versions[-1:])
    return [
        {
            **view(secret),
            "version": each.version,
            "state": each.state,
            "since": moments.show(each.activated_at or each.created_at),
            "overlap_ends": moments.show(each.retires_at),
            "last_used_at": moments.show(each.last_used_at),
            "use_count": each.use_count,
        }
        for each in living
    ]


def _view_action(action: Action) -> dict[str, Any]:
    return {
        "at": moments.show(action.at),
        "step": action.step,
        "id": action.secret_id,
        "kind": action.kind,
        "environment": action.environment,
        "partner": action.partner,
        "label": action.label,
        "version": action.version,
        "ending": action.ending,
        "ends_at": moments.show(action.ends_at),
        "last_used_at": moments.show(action.last_used_at),
        "last_used_source": action.last_used_source,
        "use_count": action.use_count,
    }
