"""`portreeve clients registration-tokens`: who may register clients without an operator (RFC 7591).

Invariant: the token is printed once, by `create`; no other command has it to print.
"""

from typing import Any, Final

import click

from gateway import clocks
from gateway.cli import consent, context, moments, output
from keys.client_registration import MOST_USES
from keys.environment import ENVIRONMENTS
from keys.registration_records import RegistrationRequest, RegistrationToken

COLUMNS: Final = ("id", "partner", "environment", "roles", "status", "uses_left", "expires_at")
_LASTS: Final = "7d"


@click.group("registration-tokens")
def registration_tokens() -> None:
    """What lets others register clients, where that is switched on."""


@registration_tokens.command()
@click.option("--partner", required=True, metavar="P", help="Whose clients they will be.")
@click.option("--environment", required=True, type=click.Choice(ENVIRONMENTS))
@click.option(
    "--role", "roles", multiple=True, required=True, metavar="R", help="Of each client; repeatable."
)
@click.option(
    "--uses", type=click.IntRange(1, MOST_USES), default=1, show_default=True, help="How many clients."
)
@click.option(
    "--expires",
    "expires_at",
    metavar="T",
    default=_LASTS,
    show_default=True,
    callback=moments.parse_option,
    help="RFC 3339, or from now: 12h, 90d, 4w.",
)
@click.option("--json", "as_json", is_flag=True)
@consent.with_consent
@context.with_config
def create(as_json: bool, **asked: Any) -> None:  # noqa: ANN401  click hands the options on
    """Let somebody register clients of a partner. Prints the token, this once."""
    request, reason = RegistrationRequest(**asked), consent.reason()
    made = context.operate(lambda ops, by: ops.registrations.create(by, request, reason=reason))
    shown = {"id": made.registration.id, "secret": made.secret.reveal()}
    if as_json:
        output.print_json({**shown, **view(made.registration, clocks.wall_ms())})
        return
    output.print_fields(shown)
    output.warn("The token is shown this once and can't be had again: store it now.")


@registration_tokens.command("list")
@click.option("--partner", metavar="P")
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def list_(partner: str | None, as_json: bool) -> None:
    """Show registration tokens, oldest first."""
    now_ms = clocks.wall_ms()
    found = context.operate(lambda ops, by: ops.registrations.find_all(by, partner=partner))
    views = [view(each, now_ms) for each in found]
    if as_json:
        output.print_json(views)
    else:
        output.print_table(COLUMNS, [[one[column] for column in COLUMNS] for one in views])


@registration_tokens.command()
@click.argument("registration_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True)
@consent.with_reason
@context.with_config
def revoke(registration_id: str, as_json: bool) -> None:
    """Let nobody register by it any more. The clients that came by it stay."""
    reason = consent.reason()
    revoked = context.operate(lambda ops, by: ops.registrations.revoke(by, registration_id, reason=reason))
    fields = view(revoked, clocks.wall_ms())
    if as_json:
        output.print_json(fields)
    else:
        output.print_fields(fields)


def view(token: RegistrationToken, now_ms: int) -> dict[str, Any]:
    return {
        "id": token.id,
        "partner": token.partner,
        "environment": token.environment,
        "roles": token.roles,
        "status": _status(token, now_ms),
        "uses_left": token.uses_left,
        "created_at": moments.show(token.created_at),
        "expires_at": moments.show(token.expires_at),
        "revoked_at": moments.show(token.revoked_at),
    }


def _status(token: RegistrationToken, now_ms: int) -> str:
    if token.revoked_at is not None:
        return "revoked"
    if token.uses_left == 0:
        return "used"
    return "expired" if token.expires_at <= now_ms else "active"
