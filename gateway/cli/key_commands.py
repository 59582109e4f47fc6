"""`portreeve keys`: partners' API keys.

Invariant: a new secret is printed once, by `create`; no other command has it to print.
"""

from typing import Any, Final, get_args

import click
from msgspec import UNSET, UnsetType

from gateway import clocks, operations, spread
from gateway.cli import consent, context, moments, output, paging, spreading, verbs
from keys.environment import ENVIRONMENTS
from keys.records import Algorithm, ApiKey, CreatedKey, KeyChange, KeyRequest, SecretVersion

COLUMNS: Final = ("id", "partner", "environment", "algorithm", "roles", "status", "label", "expires_at")
VERSION_COLUMNS: Final = ("version", "state", "created_at", "last_used_at", "last_used_source", "use_count")
PAGE: Final = 500


def _parse_public_key(_: click.Context, __: click.Parameter, value: str | None) -> bytes | None:
    try:
        return None if value is None else bytes.fromhex(value)
    except ValueError:
        raise click.BadParameter("not hex") from None


def _parse_permissions(
    _: click.Context, __: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...] | None:
    # An empty list is a key that may do nothing; not asked is not narrowed.
    return value or None


def _parse_end(ctx: click.Context, option: click.Parameter, value: str | None) -> int | UnsetType | None:
    if value is None:
        return UNSET
    return None if value == "never" else moments.parse_option(ctx, option, value)


@click.group()
def keys() -> None:
    """Partners' API keys."""


@keys.command()
@click.option("--partner", required=True, metavar="P", help="Whose key it is.")
@click.option("--environment", required=True, type=click.Choice(ENVIRONMENTS))
@click.option("--algorithm", required=True, type=click.Choice(get_args(Algorithm)))
@click.option(
    "--public-key", metavar="HEX", callback=_parse_public_key, help="An ed25519 key's public half, 32 bytes."
)
@click.option("--role", "roles", multiple=True, required=True, metavar="R", help="May be given repeatedly.")
@click.option(
    "--permission",
    "permissions",
    multiple=True,
    metavar="P",
    callback=_parse_permissions,
    help="Narrows what the roles grant to these; repeatable.",
)
@click.option("--cidr", "cidrs", multiple=True, metavar="C", help="Where from it may be used; repeatable.")
@click.option(
    "--expires",
    "expires_at",
    metavar="T",
    callback=moments.parse_option,
    help="RFC 3339, or from now: 12h, 90d, 4w.",
)
@click.option("--label", default="", metavar="L", help="A note for people.")
@click.option("--json", "as_json", is_flag=True)
@consent.with_consent
@context.with_config
def create(as_json: bool, **asked: Any) -> None:  # noqa: ANN401  click hands the options on
    """Make a key. Prints its id, its version, and its secret, this once."""
    request, reason = KeyRequest(**asked), consent.reason()
    made = context.operate(lambda ops, by: ops.keys.create(by, request, reason=reason))
    _print_created(made, as_json=as_json)


@keys.command("change")
@click.argument("key_id", metavar="ID")
@click.option("--role", "roles", multiple=True, metavar="R", help="In place of all its roles; repeatable.")
@click.option(
    "--permission",
    "permissions",
    multiple=True,
    metavar="P",
    help="Narrows what the roles grant to these; repeatable. `all`: not narrowed.",
)
@click.option(
    "--cidr",
    "cidrs",
    multiple=True,
    metavar="C",
    help="In place of all its networks; repeatable. `any`: none.",
)
@click.option(
    "--expires",
    "expires_at",
    metavar="T",
    callback=_parse_end,
    help="RFC 3339, or from now: 12h, 90d, 4w. `never`: it stays.",
)
@click.option("--label", metavar="L", help="A note for people.")
@click.option("--json", "as_json", is_flag=True)
@consent.with_consent
@context.with_config
def change_(  # noqa: PLR0913  one parameter an option
    key_id: str,
    *,
    roles: tuple[str, ...],
    permissions: tuple[str, ...],
    cidrs: tuple[str, ...],
    expires_at: int | UnsetType | None,
    label: str | None,
    as_json: bool,
) -> None:
    """Widen or narrow a key. A list that is given replaces the key's; what is not given stays."""
    asked = KeyChange(
        roles=roles or UNSET,
        permissions=None if permissions == ("all",) else permissions or UNSET,
        cidrs=() if cidrs == ("any",) else cidrs or UNSET,
        expires_at=expires_at,
        label=UNSET if label is None else label,
    )
    reason = consent.reason()
    changed = context.operate(lambda ops, by: ops.keys.change(by, key_id, asked, reason=reason))
    _print(changed, as_json=as_json)


@keys.command("list")
@click.option("--partner", metavar="P")
@click.option("--environment", type=click.Choice(ENVIRONMENTS))
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def list_(partner: str | None, environment: str | None, as_json: bool) -> None:
    """Show keys, oldest first."""

    async def gather(ops: operations.Operations, by: operations.Operator) -> list[ApiKey]:
        return await paging.gather(
            lambda after: ops.keys.find_page(
                by, partner=partner, environment=environment, after=after, limit=PAGE
            ),
            lambda page: page.keys,
        )

    now_ms = clocks.wall_ms()
    views = [view(key, now_ms) for key in context.operate(gather)]
    if as_json:
        output.print_json(views)
    else:
        output.print_table(COLUMNS, [[one[column] for column in COLUMNS] for one in views])


@keys.command()
@click.argument("key_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def show(key_id: str, as_json: bool) -> None:
    """Show one key and its secret versions."""
    _print(context.operate(lambda ops, by: ops.keys.get(by, key_id)), as_json=as_json)


def _print_created(created: CreatedKey, *, as_json: bool) -> None:
    shown = {} if created.secret is None else {"secret": created.secret.reveal()}
    fields = view(created.key, clocks.wall_ms())
    if as_json:
        output.print_json({"id": created.key.id, "version": created.version, **shown, **fields})
        return
    output.print_fields({"id": created.key.id, "version": created.version, **shown})
    if shown:
        output.warn("The secret is shown this once and can't be had again: store it now.")


def _print(key: ApiKey, seen: spread.Spread | None = None, *, as_json: bool) -> None:
    fields = view(key, clocks.wall_ms())
    versions = [_view_version(version) for version in key.versions]
    if as_json:
        output.print_json({**fields, "versions": versions, **spreading.view(seen)})
        return
    output.print_fields(fields)
    output.say("")
    output.print_table(VERSION_COLUMNS, [[one[column] for column in VERSION_COLUMNS] for one in versions])
    spreading.tell(seen)


def view(key: ApiKey, now_ms: int) -> dict[str, Any]:
    return {
        "id": key.id,
        "partner": key.partner,
        "environment": key.environment,
        "algorithm": key.algorithm,
        "status": _status(key, now_ms),
        "roles": key.roles,
        "permissions": key.permissions,
        "cidrs": key.cidrs,
        "label": key.label,
        "created_at": moments.show(key.created_at),
        "expires_at": moments.show(key.expires_at),
        "frozen_at": moments.show(key.frozen_at),
        "frozen_reason": key.frozen_reason,
        "revoked_at": moments.show(key.revoked_at),
        "revoked_reason": key.revoked_reason,
    }


def _status(key: ApiKey, now_ms: int) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= now_ms:
        return "expired"
    return "active" if key.frozen_at is None else "frozen"


def _view_version(version: SecretVersion) -> dict[str, Any]:
    return {
        "version": version.version,
        "state": version.state,
        "public_key": None if version.public_key is None else version.public_key.hex(),
        "created_at": moments.show(version.created_at),
        "last_used_at": moments.show(version.last_used_at),
        "last_used_source": version.last_used_source,
        "use_count": version.use_count,
    }


for _name, _summary in (
    ("revoke", "Refuse a key for good."),
    ("freeze", "Refuse a key until it is unfrozen."),
    ("unfreeze", "Let a frozen key work again."),
):
    verbs.add(keys, _name, _summary, argument="ID", of=lambda ops: ops.keys, show=_print)
