"""`portreeve partners`: the tenants that own keys."""

from typing import Any, Final

import click
from msgspec import UNSET

from gateway import spread
from gateway.cli import consent, context, moments, output, spreading, verbs
from keys.records import Partner, PartnerChange

COLUMNS: Final = ("id", "name", "tier", "status", "created_at")


@click.group()
def partners() -> None:
    """The tenants that own keys."""


@partners.command()
@click.argument("partner_id", metavar="ID")
@click.option("--name", help="What people call it.  [default: the id]")
@click.option("--tier", default="standard", show_default=True, help="A tier of policies.toml.")
@click.option("--json", "as_json", is_flag=True)
@consent.with_consent
@context.with_config
def create(partner_id: str, name: str | None, tier: str, as_json: bool) -> None:
    """Take on a partner."""
    reason = consent.reason()
    made = context.operate(
        lambda ops, by: ops.partners.create(by, partner_id, name or partner_id, tier, reason=reason)
    )
    _print(made, as_json=as_json)


@partners.command("change")
@click.argument("partner_id", metavar="ID")
@click.option("--name", help="What people call it.")
@click.option("--tier", help="A tier of policies.toml.")
@click.option("--json", "as_json", is_flag=True)
@consent.with_consent
@context.with_config
def change_(partner_id: str, name: str | None, tier: str | None, as_json: bool) -> None:
    """Rename a partner, or put it into another tier. What is not given stays."""
    asked = PartnerChange(name=UNSET if name is None else name, tier=UNSET if tier is None else tier)
    reason = consent.reason()
    changed = context.operate(lambda ops, by: ops.partners.change(by, partner_id, asked, reason=reason))
    _print(changed, as_json=as_json)


@partners.command("list")
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def list_(as_json: bool) -> None:
    """Show every partner."""
    views = [view(partner) for partner in context.operate(lambda ops, by: ops.partners.find_all(by))]
    if as_json:
        output.print_json(views)
    else:
        output.print_table(COLUMNS, [[one[column] for column in COLUMNS] for one in views])


@partners.command()
@click.argument("partner_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def show(partner_id: str, as_json: bool) -> None:
    """Show one partner."""
    _print(context.operate(lambda ops, by: ops.partners.get(by, partner_id)), as_json=as_json)


def _print(partner: Partner, seen: spread.Spread | None = None, *, as_json: bool) -> None:
    if as_json:
        output.print_json(view(partner) | spreading.view(seen))
    else:
        output.print_fields(view(partner))
        spreading.tell(seen)


def view(partner: Partner) -> dict[str, Any]:
    return {
        "id": partner.id,
        "name": partner.name,
        "tier": partner.tier,
        "status": "active" if partner.frozen_at is None else "frozen",
        "frozen_at": moments.show(partner.frozen_at),
        "frozen_reason": partner.frozen_reason,
        "created_at": moments.show(partner.created_at),
    }


for _name, _summary in (
    ("freeze", "Refuse every request of a partner until it is unfrozen."),
    ("unfreeze", "Let a frozen partner's keys work again."),
):
    verbs.add(partners, _name, _summary, argument="ID", of=lambda ops: ops.partners, show=_print)
