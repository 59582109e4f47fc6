"""Commands that do one thing to what an id names, and differ in the verb alone: freeze, unfreeze, revoke.

Each takes `--json` and what approvals ask for, and tells how far the change has spread.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import click

from gateway import operations, spread
from gateway.cli import consent, context, spreading


class Show(Protocol):
    def __call__(self, changed: Any, seen: spread.Spread | None, /, *, as_json: bool) -> None: ...  # noqa: ANN401  its own kind


def add(  # noqa: PLR0913  what a command is, each by its name
    group: click.Group,
    name: str,
    summary: str,
    *,
    argument: str,
    of: Callable[[operations.Operations], object],
    show: Show,
) -> None:
    """`of`: whose method of that name it is."""

    @group.command(name, help=summary)
    @click.argument("named", metavar=argument)
    @click.option("--json", "as_json", is_flag=True)
    @consent.with_consent
    @context.with_config
    def change(named: str, as_json: bool) -> None:
        reason = consent.reason()

        def apply(ops: operations.Operations, by: operations.Operator) -> Awaitable[Any]:
            done: Awaitable[Any] = getattr(of(ops), name)(by, named, reason=reason)
            return done

        changed, seen = spreading.operate(apply)
        show(changed, seen, as_json=as_json)
