"""`portreeve people`: who may sign in, and as what.

Invariant: nobody is told a password, a link or a code here: a link goes to its holder's own mailbox alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import click

from auth.people.accounts import Invitation
from auth.people.records import Account
from gateway import operations
from gateway.cli import consent, context, moments, output

COLUMNS: Final = ("id", "email", "name", "partner", "roles", "state", "second_factor")

Act = Callable[[operations.Operations, operations.Operator], Awaitable[Account]]


@click.group()
def people() -> None:
    """Who may sign in."""


@people.command()
@click.argument("email", metavar="EMAIL")
@click.option("--name", required=True, help="What they are called.")
@click.option("--partner", metavar="P", help="Whose people they belong to.  [default: the gateway's own]")
@click.option("--role", "roles", multiple=True, metavar="R", help="May be given repeatedly.")
@click.option("--json", "as_json", is_flag=True)
@consent.with_consent
@context.with_config
def invite(email: str, name: str, partner: str | None, roles: tuple[str, ...], as_json: bool) -> None:
    """Make an account, and send its holder a link to choose a password."""
    asked = Invitation(email=email, name=name, partner=partner, roles=roles)
    reason = consent.reason()
    _act(lambda ops, by: ops.people.invite(by, asked, reason=reason), as_json=as_json)


@people.command("list")
@click.option("--partner", metavar="P", help="Only this partner's.")
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def list_(partner: str | None, as_json: bool) -> None:
    """Show everybody's account."""
    found = context.operate(lambda ops, by: ops.people.find_all(by, partner=partner))
    views = [view(account) for account in found]
    if as_json:
        output.print_json(views)
    else:
        output.print_table(COLUMNS, [[one[column] for column in COLUMNS] for one in views])


@people.command()
@click.argument("who", metavar="WHO")
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def show(who: str, as_json: bool) -> None:
    """Show one account, by its id or address."""
    _act(lambda ops, by: ops.people.get(by, who), as_json=as_json)


@people.command()
@click.argument("who", metavar="WHO")
@click.option(
    "--role", "names", multiple=True, metavar="R", help="May be given repeatedly; none for no role."
)
@click.option("--json", "as_json", is_flag=True)
@consent.with_consent
@context.with_config
def roles(who: str, names: tuple[str, ...], as_json: bool) -> None:
    """Give somebody these roles, in place of those they have."""
    reason = consent.reason()
    _act(lambda ops, by: ops.people.set_roles(by, who, names, reason=reason), as_json=as_json)


def _change(command: str, method: str, summary: str) -> None:
    """These differ in the verb alone."""

    @people.command(command, help=summary)
    @click.argument("who", metavar="WHO")
    @click.option("--json", "as_json", is_flag=True)
    @consent.with_consent
    @context.with_config
    def change(who: str, as_json: bool) -> None:
        reason = consent.reason()

        def apply(ops: operations.Operations, by: operations.Operator) -> Any:  # noqa: ANN401  one of their coroutines
            return getattr(ops.people, method)(by, who, reason=reason)

        _act(apply, as_json=as_json)


_change("disable", "disable", "Shut somebody out: every session and every grant of theirs ends.")
_change("enable", "enable", "Let somebody in again who was shut out.")
_change("sign-out", "sign_out", "End every session and every grant of somebody.")
_change("reset", "reset", "Send somebody a new link: to another password, or their invitation again.")

_change("remove-factors", "remove_factors", "Take away every second factor of somebody who has lost them.")


def _act(action: Act, *, as_json: bool) -> None:
    account = context.operate(action)
    if as_json:
        output.print_json(view(account))
    else:
        output.print_fields(view(account))


def view(account: Account) -> dict[str, Any]:
    factors = [
        *(["one-time passwords"] if account.has_totp else []),
        *([f"{account.passkeys} passkeys"] if account.passkeys else []),
    ]
    return {
        "id": account.id,
        "email": account.shown_email,
        "name": account.name,
        "partner": account.partner,
        "roles": list(account.roles),
        "state": account.state,
        "second_factor": factors,
        "recovery_codes": account.recovery_codes,
        "created_at": moments.show(account.created_at),
        "signed_out_at": moments.show(account.signed_out_at),
        "disabled_at": moments.show(account.disabled_at),
        "disabled_reason": account.disabled_reason,
    }
