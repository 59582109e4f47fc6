"""`portreeve freeze`, `unfreeze` and `freezes`: the kill switch for a route or a whole environment.

Invariant: only a route that is configured is frozen, because a misspelt name would stop nothing; thawed is whatever is
frozen, also a route that has left the configuration.
"""

from typing import Any, Final

import click

from gateway import composition, settings, spread
from gateway.cli import consent, context, moments, output, spreading
from keys.environment import ENVIRONMENTS
from keys.freezes import Freeze

COLUMNS: Final = ("kind", "name", "frozen_at", "frozen_by", "reason")


@click.group()
def freeze() -> None:
    """Refuse all requests to a route or an environment, on every node."""


@click.group()
def unfreeze() -> None:
    """Let a frozen route or environment work again."""


@click.command()
@click.option("--json", "as_json", is_flag=True)
@context.with_config
def freezes(as_json: bool) -> None:
    """Show everything that is frozen: environments, routes, partners, keys."""
    views = [_view(frozen) for frozen in context.operate(lambda ops, by: ops.freezes.find_all(by))]
    if as_json:
        output.print_json(views)
    else:
        output.print_table(COLUMNS, [[one[column] for column in COLUMNS] for one in views])


def _change(group: click.Group, verb: str, kind: str, names: click.ParamType[str], summary: str) -> None:
    """The four changes differ in what they are of and in their verb alone."""

    @group.command(kind, help=summary)
    @click.argument("name", type=names)
    @consent.with_consent
    @click.option("--json", "as_json", is_flag=True)
    @context.with_config
    def change(name: str, as_json: bool) -> None:
        async def apply(
            store: composition.Store, configured: settings.Settings
        ) -> tuple[Freeze, spread.Spread]:
            freezing = composition.build_operations(store, configured).freezes
            made: Freeze = await getattr(freezing, verb)(
                context.operator(), kind, name, reason=consent.reason()
            )
            return made, await spreading.follow(store, configured, made.revision)

        made, seen = context.act(apply)
        status = "frozen" if verb == "freeze" else "active"
        if as_json:
            output.print_json({**_view(made), "status": status, **spreading.view(seen)})
            return
        output.print_fields({"kind": kind, "name": name, "status": status})
        spreading.tell(seen)


_NAME: Final = click.STRING
_ENVIRONMENT: Final = click.Choice(ENVIRONMENTS)
_change(freeze, "freeze", "route", _NAME, "Refuse a route, named as in the configuration, with route_frozen.")
_change(freeze, "freeze", "environment", _ENVIRONMENT, "Refuse all routes of it, with environment_frozen.")
_change(unfreeze, "unfreeze", "route", _NAME, "Serve a frozen route again.")
_change(unfreeze, "unfreeze", "environment", _ENVIRONMENT, "Serve a frozen environment again.")


def _view(frozen: Freeze) -> dict[str, Any]:
    return {
        "kind": frozen.kind,
        "name": frozen.name,
        "frozen_at": moments.show(frozen.frozen_at),
        "frozen_by": frozen.frozen_by,
        "reason": frozen.reason,
        "revision": frozen.revision,
    }
