"""`portreeve webhooks`: where partners are told what happens to their keys.

Invariant: a new secret is printed once, by `create`; no other command has it to print.
"""

from collections.abc import Callable
from typing import Any, Final

import click

from gateway import composition, settings
from gateway.cli import context, moments, output
from keys.webhook_records import EVENTS, CreatedWebhook, Delivery, Webhook

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
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def create(partner: str, url: str, events: tuple[str, ...], as_json: bool) -> None:
    """Take on a webhook. Prints its id, and its secret, this once."""

    async def make(store: composition.Store, _: settings.Settings) -> CreatedWebhook:
        return await store.webhooks.create(partner, url, events or EVENTS, author=context.author())

    created = context.act(make)
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
    views = [view(webhook) for webhook in context.act(lambda store, _: store.webhooks.list(partner))]
    _print_all(COLUMNS, views, as_json=as_json)


@webhooks.command()
@click.argument("webhook_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def show(webhook_id: str, as_json: bool) -> None:
    """Show one webhook."""
    _print(context.act(lambda store, _: store.webhooks.get(webhook_id)), as_json=as_json)


@webhooks.command()
@click.argument("webhook_id", metavar="ID")
@click.option("--url", metavar="URL", help="Another address.")
@_event_option(help_="In place of what it is told of now; repeatable.")
@click.option("--reason", help="Goes into the audit ledger.")
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def change(
    webhook_id: str, url: str | None, events: tuple[str, ...], reason: str | None, as_json: bool
) -> None:
    """Lead a webhook elsewhere, or tell it of other events."""

    async def apply(store: composition.Store, _: settings.Settings) -> Webhook:
        return await store.webhooks.change(
            webhook_id, url=url, events=events or None, author=context.author(reason)
        )

    _print(context.act(apply), as_json=as_json)


def _change(name: str, summary: str) -> None:
    """These differ in the verb alone."""

    @webhooks.command(name, help=summary)
    @click.argument("webhook_id", metavar="ID")
    @click.option("--reason", help="Goes into the audit ledger.")
    @click.option("--json", "as_json", is_flag=True)
    @context.with_config
    def apply(webhook_id: str, reason: str | None, as_json: bool) -> None:
        def act(store: composition.Store, _: settings.Settings) -> Any:  # noqa: ANN401  one of the service's coroutines
            return getattr(store.webhooks, name)(webhook_id, author=context.author(reason))

        _print(context.act(act), as_json=as_json)


_change("disable", "Tell a webhook nothing until it is enabled.")
_change("enable", "Tell a disabled webhook again.")
_change("test", "Send a webhook a `webhook.test`, whatever else it is told of.")


@webhooks.command()
@click.argument("webhook_id", metavar="ID")
@click.option("--reason", help="Goes into the audit ledger.")
@context.with_config
def remove(webhook_id: str, reason: str | None) -> None:
    """Forget a webhook and its secret, for good."""
    context.act(lambda store, _: store.webhooks.remove(webhook_id, author=context.author(reason)))


@webhooks.command()
@click.argument("webhook_id", metavar="ID")
@click.option("--limit", type=click.IntRange(1, 1_000), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def deliveries(webhook_id: str, limit: int, as_json: bool) -> None:
    """Show what a webhook was told, the newest first."""
    found = context.act(lambda store, _: store.webhooks.list_deliveries(webhook_id, limit))
    _print_all(DELIVERY_COLUMNS, [view_delivery(one) for one in found], as_json=as_json)


@webhooks.command()
@click.argument("delivery_id", metavar="DELIVERY")
@click.option("--reason", help="Goes into the audit ledger.")
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def redeliver(delivery_id: str, reason: str | None, as_json: bool) -> None:
    """Put a delivery that has ended in line again."""

    async def apply(store: composition.Store, _: settings.Settings) -> Delivery:
        return await store.webhooks.redeliver(delivery_id, author=context.author(reason))

    fields = view_delivery(context.act(apply))
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
