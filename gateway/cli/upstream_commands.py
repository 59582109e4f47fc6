"""`portreeve upstreams`: the upstreams, and what the gateway proves itself with towards each.

Invariant: a secret is read from a file or from stdin, never from the command line, and no command shows it again.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

import click
import msgspec

from gateway import settings
from gateway.cli import consent, context, moments, output
from gateway.credentials import entering, forms
from keys import refusals
from keys.environment import ENVIRONMENTS
from keys.secret import Secret
from keys.upstream_credentials import Form, Source, UpstreamCredential

COLUMNS: Final = ("upstream", "environment", "form", "source", "active", "pending", "required")
VERSION_COLUMNS: Final = (
    "version",
    "state",
    "created_at",
    "activates_at",
    "activated_at",
    "retires_at",
    "revoked_at",
)
_MOST: Final = 65_536

Command = TypeVar("Command", bound=Callable[..., Any])
Members = dict[str, str | None]


class UnreadableSecret(refusals.InvalidRequest):
    field = "secret"


@click.group()
def upstreams() -> None:
    """The upstreams, and the gateway's credentials for them."""


@upstreams.command("list")
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def list_(as_json: bool) -> None:
    """Show the configured upstreams and which credential each is asked with."""
    found = {each.upstream: each for each in context.operate(lambda ops, by: ops.upstreams.find_all(by))}
    upstreams = context.load_settings().upstreams
    views = [_summary(name, upstream, found.get(name)) for name, upstream in upstreams.items()]
    if as_json:
        output.print_json(views)
    else:
        output.print_table(COLUMNS, [[one[column] for column in COLUMNS] for one in views])


@upstreams.group()
def credential() -> None:
    """What the gateway proves itself with towards an upstream."""


def _secret_options(command: Command) -> Command:
    for option in (
        click.option("--username", metavar="U", help="Of `basic`, beside its password."),
        click.option("--key-id", metavar="K", help="Of `hmac`, beside its secret."),
        click.option("--client-id", metavar="C", help="Of `oauth-client`, beside its secret."),
        click.option(
            "--secret-file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Holds the secret, or a JSON object of all members.  [default: stdin]",
        ),
    ):
        command = option(command)
    return command


def _common(command: Command) -> Command:
    for option in (
        click.option("--json", "as_json", is_flag=True),
        click.argument("name", metavar="NAME"),
    ):
        command = option(command)
    return context.with_config(command)


@credential.command("set")
@click.option("--form", required=True, type=click.Choice(get_args(Form)))
@click.option("--source", type=click.Choice(get_args(Source)), default="local", show_default=True)
@click.option("--environment", type=click.Choice(ENVIRONMENTS), help="Refuse an upstream of the other.")
@click.option("--header", metavar="H", help="Of `header`: its name.")
@click.option("--key-header", metavar="H", help="Of `hmac`.  [default: x-api-key]")
@click.option("--timestamp-header", metavar="H", help="Of `hmac`.  [default: x-timestamp]")
@click.option("--signature-header", metavar="H", help="Of `hmac`.  [default: x-signature]")
@click.option("--layout", type=click.Choice(("lines", "joined")), help="Of `hmac`.  [default: lines]")
@click.option("--encoding", type=click.Choice(("hex", "base64")), help="Of `hmac`.  [default: hex]")
@click.option("--timestamp", type=click.Choice(("ms", "s")), help="Of `hmac`.  [default: ms]")
@click.option("--token-endpoint", metavar="URL", help="Of `oauth-client`.")
@click.option("--scope", metavar="S", help="Of `oauth-client`.")
@click.option(
    "--client-authentication",
    type=click.Choice(("basic", "post")),
    help="Of `oauth-client`.  [default: basic]",
)
@click.option("--secret-id", metavar="S", help="Of `aws-secrets-manager`: name or ARN.")
@_secret_options
@consent.with_consent
@_common
def set_(  # noqa: PLR0913, PLR0917  click hands each option on
    name: str,
    as_json: bool,
    form: Form,
    source: Source,
    environment: str | None,
    secret_file: Path | None,
    username: str | None,
    key_id: str | None,
    client_id: str | None,
    **details: str | None,
) -> None:
    """Give an upstream its credential. A local secret is read from stdin or a file."""
    given = {member: value for member, value in details.items() if value is not None}
    with context.reported():
        # Before anybody is asked for a secret.
        request = entering.request_for(
            context.load_settings(), name, form=form, source=source, details=given, environment=environment
        )
    members: Members = {"username": username, "key_id": key_id, "client_id": client_id}
    material = _read_material(form, members, secret_file) if source == "local" else None
    _print(
        context.operate(lambda ops, by: ops.upstreams.create(by, request, material, reason=consent.reason())),
        as_json=as_json,
    )


@credential.command()
@click.option(
    "--at",
    "activates_at",
    metavar="T",
    callback=moments.parse_option,
    help="Send it from T without a further word.",
)
@_secret_options
@consent.with_consent
@_common
def announce(
    name: str, as_json: bool, secret_file: Path | None, activates_at: int | None, **members: str | None
) -> None:
    """Store the next version, without sending it yet."""
    material = _read_next(name, secret_file, members)
    changed = context.operate(
        lambda ops, by: ops.upstreams.announce(
            by, name, material, activates_at=activates_at, reason=consent.reason()
        )
    )
    _print(changed, as_json=as_json)


@credential.command()
@_secret_options
@consent.with_consent
@_common
def rotate(name: str, as_json: bool, secret_file: Path | None, **members: str | None) -> None:
    """Store the next version and send it from now on."""
    material = _read_next(name, secret_file, members)
    changed = context.operate(
        lambda ops, by: ops.upstreams.rotate(by, name, material, reason=consent.reason())
    )
    _print(changed, as_json=as_json)


@credential.command()
@consent.with_consent
@_common
def activate(name: str, as_json: bool) -> None:
    """Send the announced version from now on."""
    changed = context.operate(lambda ops, by: ops.upstreams.activate(by, name, reason=consent.reason()))
    _print(changed, as_json=as_json)


@credential.command()
@click.option("--version", type=int, metavar="N", help="That one alone.  [default: all]")
@consent.with_reason
@_common
def revoke(name: str, as_json: bool, version: int | None) -> None:
    """Send it no more. Without an active version the upstream is asked nothing."""
    changed = context.operate(
        lambda ops, by: ops.upstreams.revoke(by, name, version, reason=consent.reason())
    )
    _print(changed, as_json=as_json)


@credential.command()
@consent.with_consent
@click.argument("name", metavar="NAME")
@context.with_config
def remove(name: str) -> None:
    """Ask the upstream without a credential from now on."""
    context.operate(lambda ops, by: ops.upstreams.remove(by, name, reason=consent.reason()))
    output.say(f"upstream {name} has no credential any more")


@credential.command()
@_common
def show(name: str, as_json: bool) -> None:
    """Show where it goes and its versions, never what it is."""
    _print(context.operate(lambda ops, by: ops.upstreams.get(by, name)), as_json=as_json)


def _read_next(name: str, secret_file: Path | None, members: Members) -> Secret:
    found = context.operate(lambda ops, by: ops.upstreams.get(by, name))
    return _read_material(found.form, members, secret_file)


def _read_material(form: Form, members: Members, file: Path | None) -> Secret:
    public = forms.PUBLIC_MEMBER.get(form)
    given = {member: value for member, value in members.items() if value is not None}
    if set(given) - {public}:
        raise click.UsageError(f"{form} takes no {', '.join(sorted(set(given) - {public}))}")
    with context.reported():
        text = _read_secret(file)
        if public in given:
            (member,) = (each for each in forms.MEMBERS[form] if each != public)
            text = Secret(msgspec.json.encode({**given, member: text.reveal()}).decode())
        return entering.material_for(form, text)


def _read_secret(file: Path | None) -> Secret:
    if file is None and sys.stdin.isatty():
        return Secret(click.prompt("Secret", hide_input=True, err=True))
    try:
        raw = sys.stdin.buffer.read(_MOST) if file is None else file.read_bytes()[:_MOST]
        # One line end, which editors and `echo` add; a second one would be part of the secret.
        return Secret(raw.decode().removesuffix("\n").removesuffix("\r"))
    except UnicodeDecodeError:
        # Not chained: that exception holds the content.
        raise UnreadableSecret("the secret is not UTF-8 text") from None


def _summary(
    name: str, upstream: settings.UpstreamSettings, found: UpstreamCredential | None
) -> dict[str, Any]:
    numbers = {} if found is None else {each.state: each.version for each in found.versions}
    return {
        "upstream": name,
        "environment": upstream.environment,
        "form": None if found is None else found.form,
        "source": None if found is None else found.source,
        "active": numbers.get("active"),
        "pending": numbers.get("pending"),
        "required": upstream.requires_credential,
    }


def _print(found: UpstreamCredential, *, as_json: bool) -> None:
    fields = {
        "upstream": found.upstream,
        "id": found.id,
        "environment": found.environment,
        "form": found.form,
        "source": found.source,
        **found.details,
    }
    versions = [
        {
            "version": version.version,
            "state": version.state,
            "created_at": moments.show(version.created_at),
            "activates_at": moments.show(version.activates_at),
            "activated_at": moments.show(version.activated_at),
            "retires_at": moments.show(version.retires_at),
            "revoked_at": moments.show(version.revoked_at),
        }
        for version in found.versions
    ]
    if as_json:
        output.print_json({**fields, "versions": versions})
        return
    output.print_fields(fields)
    output.say("")
    output.print_table(VERSION_COLUMNS, [[one[column] for column in VERSION_COLUMNS] for one in versions])
