"""`portreeve webhooks`: where partners are told what happens to their keys.

Invariant: a new secret is printed once, by `create`; no other command has it to print.
"""

from collections.abc import Callable
from typing import Any, Final

import click

from gateway import operations
from gateway.cli import consent, context, moments, output
from keys.webhook_records import EVENTS, Delivery, Webhook

COLUMNS: Final = ("id", "partner", "url", "events", "status", "created_at")
DELIVERY_COLUMNS: Final = (
    "id",
    "event",
    "state",
    "attempts",
    "created_at",
    "next_attempt_at",
    "last_status",
    "last_failure",
)


@click.group()
def webhooks() -> None:
    """Where partners are told what happens to their keys."""


def _event_option(*, help_: str) -> Callable[[context.Command], context.Command]:
    return click.option(
        "--event", "events", multiple=True, metavar="E", type=click.Choice(EVENTS), help=help_
    )


@webhooks.command()
@click.option("--partner", required=True, metavar="P", help="Who is told.")
@click.option("--url", required=True, metavar="URL", help="Where: an https:// address that is public.")
@_event_option(help_="What of; repeatable. None: everything there is now.")
@consent.with_consent
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def create(partner: str, url: str, events: tuple[str, ...], as_json: bool) -> None:
    """Take on a webhook. Prints its id, and its secret, this once."""
    created = context.operate(
        lambda ops, by: ops.webhooks.create(by, partner, url, events or EVENTS, reason=consent.reason())
    )
    shown = {"id": created.webhook.id, "version": created.version, "secret": created.secret.reveal()}
    if as_json:
        output.print_json(shown | view(created.webhook))
        return
    output.print_fields(shown)
    output.warn("The secret is shown this once and can't be had again: store it now.")


@webhooks.command("list")
@click.option("--partner", metavar="P")
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def list_(partner: str | None, as_json: bool) -> None:
    """Show webhooks, oldest first."""
    found = context.operate(lambda ops, by: ops.webhooks.find_all(by, partner=partner))
    views = [view(webhook) for webhook in found]
    _print_all(COLUMNS, views, as_json=as_json)


@webhooks.command()
@click.argument("webhook_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def show(webhook_id: str, as_json: bool) -> None:
    """Show one webhook."""
    _print(context.operate(lambda ops, by: ops.webhooks.get(by, webhook_id)), as_json=as_json)


@webhooks.command()
@click.argument("webhook_id", metavar="ID")
@click.option("--url", metavar="URL", help="Another address.")
@_event_option(help_="In place of what it is told of now; repeatable.")
@consent.with_consent
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def change(webhook_id: str, url: str | None, events: tuple[str, ...], as_json: bool) -> None:
    """Lead a webhook elsewhere, or tell it of other events."""
    changed = context.operate(
        lambda ops, by: ops.webhooks.change(
            by, webhook_id, url=url, events=events or None, reason=consent.reason()
        )
    )
    _print(changed, as_json=as_json)


def _change(name: str, summary: str, with_leave: Callable[..., Any]) -> None:
    """These differ in the verb alone."""

    @webhooks.command(name, help=summary)
    @click.argument("webhook_id", metavar="ID")
    @with_leave
    @click.option("--json", "as_json", is_flag=True)
    @context.with_config
    def apply(webhook_id: str, as_json: bool) -> None:
        def act(ops: operations.Operations, by: operations.Operator) -> Any:  # noqa: ANN401  one of its coroutines
            return getattr(ops.webhooks, name)(by, webhook_id, reason=consent.reason())

        _print(context.operate(act), as_json=as_json)


_change("disable", "Tell a webhook nothing until it is enabled.", consent.with_consent)
_change("enable", "Tell a disabled webhook again.", consent.with_consent)
_change("test", "Send a webhook a `webhook.test`, whatever else it is told of.", consent.with_reason)


@webhooks.command()
@click.argument("webhook_id", metavar="ID")
@consent.with_consent
@context.with_config
def remove(webhook_id: str) -> None:
    """Forget a webhook and its secret, for good."""
    context.operate(lambda ops, by: ops.webhooks.remove(by, webhook_id, reason=consent.reason()))


@webhooks.command()
@click.argument("webhook_id", metavar="ID")
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def deliveries(webhook_id: str, limit: int, as_json: bool) -> None:
    """Show what a webhook was told, the newest first."""
    found = context.operate(lambda ops, by: ops.webhooks.find_deliveries(by, webhook_id, limit=limit))
    _print_all(DELIVERY_COLUMNS, [view_delivery(one) for one in found], as_json=as_json)


@webhooks.command()
@click.argument("delivery_id", metavar="DELIVERY")
@consent.with_reason
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def redeliver(delivery_id: str, as_json: bool) -> None:
    """Put a delivery that has ended in line again."""
    again = context.operate(lambda ops, by: ops.webhooks.redeliver(by, delivery_id, reason=consent.reason()))
    fields = view_delivery(again)
    if as_json:
        output.print_json(fields)
    else:
        output.print_fields(fields)


def _print(webhook: Webhook, *, as_json: bool) -> None:
    if as_json:
        output.print_json(view(webhook))
    else:
        output.print_fields(view(webhook))


def _print_all(columns: tuple[str, ...], views: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        output.print_json(views)
    else:
        output.print_table(columns, [[one[column] for column in columns] for one in views])


def view(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": webhook.id,
        "partner": webhook.partner,
        "url": webhook.url,
        "events": webhook.events,
        "status": "active" if webhook.disabled_at is None else "disabled",
        "created_at": moments.show(webhook.created_at),
        "disabled_at": moments.show(webhook.disabled_at),
        "disabled_reason": webhook.disabled_reason,
    }


def view_delivery(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "webhook": delivery.webhook,
        "seq": delivery.seq,
        "event": delivery.event,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "created_at": moments.show(delivery.created_at),
        "next_attempt_at": moments.show(delivery.next_attempt_at),
        "last_status": delivery.last_status,
        "last_failure": delivery.last_failure,
        "ended_at": moments.show(delivery.ended_at),
    }
