"""`portreeve approvals`: what waits for a second person."""

from typing import Any, Final

import click

from gateway import operations
from gateway.cli import consent, context, moments, output, paging
from keys.approval_records import Approval

COLUMNS: Final = ("id", "action", "subject", "environment", "state", "requested_by", "reason", "expires_at")
PAGE: Final = 500


@click.group()
def approvals() -> None:
    """What waits for a second person."""


@approvals.command("list")
@click.option("--all", "everything", is_flag=True, help="Those that are settled or expired, too.")
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def list_(everything: bool, as_json: bool) -> None:
    """Show what can still be decided or used, newest first."""

    async def gather(ops: operations.Operations, by: operations.Operator) -> list[Approval]:
        return await paging.gather(
            lambda after: ops.approvals.find_page(
                by, state=None if everything else "open", after=after, limit=PAGE
            ),
            lambda page: page.approvals,
        )

    views = [view(approval) for approval in context.operate(gather)]
    if as_json:
        output.print_json(views)
    else:
        output.print_table(COLUMNS, [[one[column] for column in COLUMNS] for one in views])


@approvals.command()
@click.argument("approval_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def show(approval_id: str, as_json: bool) -> None:
    """Show one request, with all that it would change."""
    _print(context.operate(lambda ops, by: ops.approvals.get(by, approval_id)), as_json=as_json)


def _step(name: str, summary: str) -> None:
    """The three steps differ in the verb alone."""

    @approvals.command(name, help=summary)
    @click.argument("approval_id", metavar="ID")
    @click.option("--json", "as_json", is_flag=True)
    @consent.with_reason
    @context.with_config
    def step(approval_id: str, as_json: bool) -> None:
        reason = consent.reason()

        def apply(ops: operations.Operations, by: operations.Operator) -> Any:  # noqa: ANN401  one of their coroutines
            return getattr(ops.approvals, name)(by, approval_id, reason=reason)

        _print(context.operate(apply), as_json=as_json)


_step("approve", "Agree to what somebody else has asked for. Look at it with `show` first.")
_step("refuse", "Refuse what somebody else has asked for.")
_step("withdraw", "Take back what you have asked for.")


def _print(approval: Approval, *, as_json: bool) -> None:
    fields = view(approval)
    if as_json:
        output.print_json(fields)
        return
    change = fields.pop("change")
    output.print_fields(fields)
    output.say("")
    output.print_fields(change or {"change": "nothing more than the action says"})


def view(approval: Approval) -> dict[str, Any]:
    return {
        "id": approval.id,
        "action": approval.action,
        "subject": approval.subject,
        "environment": approval.environment,
        "partner": approval.partner,
        "state": approval.state,
        "requested_by": approval.requested_by,
        "requested_at": moments.show(approval.requested_at),
        "reason": approval.reason,
        "expires_at": moments.show(approval.expires_at),
        "approvers": approval.approvers,
        "decided_by": approval.decided_by,
        "decided_at": moments.show(approval.decided_at),
        "decision_reason": approval.decision_reason,
        "used_at": moments.show(approval.used_at),
        "digest": approval.digest,
        "change": approval.change,
    }
