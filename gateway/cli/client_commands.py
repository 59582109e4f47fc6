"""`portreeve clients`: partners' OAuth clients.

Invariant: a new secret is printed once, by `create`; no other command has it to print.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

import click
import msgspec
from msgspec import UNSET

from gateway import clocks, operations, spread
from gateway.cli import (
    client_options,
    consent,
    context,
    jwk_files,
    moments,
    output,
    paging,
    registration_commands,
    spreading,
    verbs,
)
from keys import client_requests, public_jwks
from keys.client_records import Authentication, ClientChange, ClientRequest, CreatedClient, OAuthClient
from keys.environment import ENVIRONMENTS
from keys.records import SecretVersion

COLUMNS: Final = ("id", "partner", "environment", "name", "authentication", "exceptions", "roles", "status")
VERSION_COLUMNS: Final = ("version", "state", "kid", "created_at", "last_used_at", "use_count")
PAGE: Final = 500

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group()
def clients() -> None:
    """Partners' OAuth clients."""


clients.add_command(registration_commands.registration_tokens)


@clients.command()
@click.option("--partner", required=True, metavar="P", help="Whose client it is.")
@click.option("--environment", required=True, type=click.Choice(ENVIRONMENTS))
@click.option(
    "--authentication",
    type=click.Choice(get_args(Authentication)),
    default="private_key_jwt",
    show_default=True,
    help="How it proves itself to the token endpoint.",
)
@click.option("--jwks", "jwks_file", type=click.Path(path_type=Path), help="Its public key, as JWK or JWKS.")
@client_options.described
@click.option("--json", "as_json", is_flag=True)
@consent.with_consent
@context.with_config
def create(as_json: bool, jwks_file: Path | None, **given: Any) -> None:  # noqa: ANN401  click hands the options on
    """Register a client. Prints its id, and its secret, if it has one, this once."""
    own = {name: given.pop(name) for name in ("partner", "environment", "authentication")}
    terms = client_options.read(given)
    terms.setdefault("binding", client_requests.default_binding(own["authentication"]))
    for name in ("name", "roles"):
        if name not in terms:
            raise click.UsageError(f"a client has a {name.removesuffix('s')}")
    public_key = None if jwks_file is None else jwk_files.read(jwks_file)
    about = client_options.read_about(given)
    request = ClientRequest(**own, **terms, public_key=public_key, about=about)
    reason = consent.reason()
    _print_created(
        context.operate(lambda ops, by: ops.clients.create(by, request, reason=reason)), as_json=as_json
    )


@clients.command("change")
@click.argument("client_id", metavar="ID")
@client_options.described
@click.option("--json", "as_json", is_flag=True)
@consent.with_consent
@context.with_config
def change_(client_id: str, as_json: bool, **given: Any) -> None:  # noqa: ANN401  click hands the options on
    """Widen or narrow a client. A list that is given replaces the client's; what is not given stays."""
    terms, reason = client_options.read(given), consent.reason()

    async def apply(ops: operations.Operations, by: operations.Operator) -> OAuthClient:
        seen = await ops.clients.get(by, client_id)
        about = client_options.read_about(given, seen.about)
        asked = ClientChange(**terms, about=UNSET if about == seen.about else about)
        return await ops.clients.change(by, client_id, asked, reason=reason)

    changed, seen = spreading.operate(apply)
    _print(changed, seen, as_json=as_json)


@clients.command("list")
@click.option("--partner", metavar="P")
@click.option("--environment", type=click.Choice(ENVIRONMENTS))
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def list_(partner: str | None, environment: str | None, as_json: bool) -> None:
    """Show clients, oldest first."""

    async def gather(ops: operations.Operations, by: operations.Operator) -> list[OAuthClient]:
        return await paging.gather(
            lambda after: ops.clients.find_page(
                by, partner=partner, environment=environment, after=after, limit=PAGE
            ),
            lambda page: page.clients,
        )

    now_ms = clocks.wall_ms()
    views = [view(client, now_ms) for client in context.operate(gather)]
    if as_json:
        output.print_json(views)
    else:
        output.print_table(COLUMNS, [[one[column] for column in COLUMNS] for one in views])


@clients.command()
@click.argument("client_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def show(client_id: str, as_json: bool) -> None:
    """Show one client, and the versions of its keys or its secret."""
    _print(context.operate(lambda ops, by: ops.clients.get(by, client_id)), as_json=as_json)


def _print_created(created: CreatedClient, *, as_json: bool) -> None:
    shown = {} if created.secret is None else {"secret": created.secret.reveal()}
    if as_json:
        fields = view(created.client, clocks.wall_ms())
        output.print_json({"id": created.client.id, "version": created.version, **shown, **fields})
        return
    output.print_fields({"id": created.client.id, "version": created.version, **shown})
    if shown:
        output.warn("The secret is shown this once and can't be had again: store it now.")
    for exception in created.client.exceptions:
        output.warn(f"Weaker than FAPI 2.0: {exception}.")


def _print(client: OAuthClient, seen: spread.Spread | None = None, *, as_json: bool) -> None:
    fields = view(client, clocks.wall_ms())
    versions = [_view_version(version) for version in client.versions]
    if as_json:
        output.print_json({**fields, "versions": versions, **spreading.view(seen)})
        return
    output.print_fields(fields)
    output.say("")
    output.print_table(VERSION_COLUMNS, [[one[column] for column in VERSION_COLUMNS] for one in versions])
    spreading.tell(seen)


def view(client: OAuthClient, now_ms: int) -> dict[str, Any]:
    return {
        "id": client.id,
        "partner": client.partner,
        "environment": client.environment,
        "name": client.name,
        "status": _status(client, now_ms),
        "authentication": client.authentication,
        "binding": client.binding,
        "exceptions": client.exceptions,
        "grants": client.grants,
        "redirect_uris": client.redirect_uris,
        "roles": client.roles,
        "permissions": client.permissions,
        "cidrs": client.cidrs,
        "jwks_url": client.keys_url,
        "certificate": _named(client.certificate),
        "about": _named(client.about),
        "created_at": moments.show(client.created_at),
        "expires_at": moments.show(client.expires_at),
        "frozen_at": moments.show(client.frozen_at),
        "frozen_reason": client.frozen_reason,
        "revoked_at": moments.show(client.revoked_at),
        "revoked_reason": client.revoked_reason,
    }


def _named(fields: msgspec.Struct | None) -> dict[str, Any] | None:
    """Of many fields those that say something."""
    if fields is None:
        return None
    return {name: value for name, value in msgspec.structs.asdict(fields).items() if value} or None


def _status(client: OAuthClient, now_ms: int) -> str:
    if client.revoked_at is not None:
        return "revoked"
    if client.expires_at is not None and client.expires_at <= now_ms:
        return "expired"
    return "active" if client.frozen_at is None else "frozen"


def _view_version(version: SecretVersion) -> dict[str, Any]:
    jwk = (
        None if version.public_key is None else dict(public_jwks.parse_serialised(version.public_key).members)
    )
    return {
        "version": version.version,
        "state": version.state,
        "kid": None if jwk is None else jwk.get("kid"),
        "jwk": jwk,
        "created_at": moments.show(version.created_at),
        "last_used_at": moments.show(version.last_used_at),
        "last_used_source": version.last_used_source,
        "use_count": version.use_count,
    }


for _name, _summary in (
    ("revoke", "Refuse a client for good."),
    ("freeze", "Refuse a client until it is unfrozen."),
    ("unfreeze", "Let a frozen client work again."),
):
    verbs.add(clients, _name, _summary, argument="ID", of=lambda ops: ops.clients, show=_print)
