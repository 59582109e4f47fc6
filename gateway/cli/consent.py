"""What commands that change something share: why, and by whose leave.

Invariant: nothing here says who acts; that is the account on this machine, which no option and no variable can change.
A command that needs a second person exits with 1 and says what to repeat, word by word, once there is one.
"""

import shlex
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import click
import msgspec
from click.core import ParameterSource

from gateway.cli import moments, output
from keys.approval_records import Approval

Command = TypeVar("Command", bound=Callable[..., Any])

_META: Final = "portreeve.consent."
_LEAVE: Final = frozenset({"approval", "break_glass"})


def with_reason(command: Command) -> Command:
    return _keep("--reason", metavar="TEXT", help="Why; goes into the audit ledger.")(command)


def with_consent(command: Command) -> Command:
    """`--reason`, and by whose leave: for every command whose operation passes the gate."""
    leave = _keep("--approval", metavar="ID", help="The approval that a second person has given.")
    alone = _keep(
        "--break-glass", is_flag=True, help="Act alone, under the break-glass that you have opened."
    )
    return with_reason(leave(alone(command)))


def reason() -> str | None:
    given: str | None = _kept("reason")
    return given


def approval() -> str | None:
    shown: str | None = _kept("approval")
    return shown


def is_under_glass() -> bool:
    return bool(_kept("break_glass"))


class SecondPersonNeeded(click.ClickException):
    """Nothing was changed. With `--json` what to do next is on stderr as JSON."""

    def __init__(self, waiting: Approval) -> None:
        super().__init__(f"this needs a second person: {waiting.id} is {waiting.state}")
        self._waiting = waiting
        context = click.get_current_context()
        self._as_json = bool(context.params.get("as_json"))
        # Now: when an exception is shown, its context is gone.
        self._line = _repeat(context, waiting.id)

    def show(self, file: Any = None) -> None:  # noqa: ANN401, ARG002  click's signature
        if self._as_json:
            fields = {
                "approval": self._waiting.id,
                "state": self._waiting.state,
                "expires_at": moments.show(self._waiting.expires_at),
                "repeat": self._line,
            }
            click.echo(msgspec.json.encode(fields).decode(), err=True)
            return
        until = moments.show(self._waiting.expires_at)
        output.warn(f"Error: {self.message}, until {until}")
        if self._waiting.state == "pending":
            output.warn(f"A second person: portreeve approvals approve {self._waiting.id}")
        output.warn(f"Then again, you:   {self._line}")


def _keep(spelling: str, **attributes: Any) -> Callable[[Command], Command]:  # noqa: ANN401  click's own
    def remember(ctx: click.Context, option: click.Parameter, value: object) -> None:
        ctx.meta[_META + str(option.name)] = value

    return click.option(spelling, expose_value=False, callback=remember, **attributes)


def _kept(name: str) -> Any:  # noqa: ANN401  what the option's own type has made of it
    return click.get_current_context().meta.get(_META + name)


def _repeat(ctx: click.Context, approval_id: str) -> str:
    """The command as it was given, with moments as they were understood: `90d` would be another one by then."""
    words = [*ctx.command_path.split(), *_words(ctx)]
    config = ctx.find_root().obj
    if config is not None:
        words += ["--config", str(config)]
    return shlex.join([*words, "--approval", approval_id])


def _words(ctx: click.Context) -> Iterator[str]:
    for parameter in sorted(ctx.command.params, key=lambda one: isinstance(one, click.Option)):
        name = str(parameter.name)
        given = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not given or name in _LEAVE or name == "config_file":
            continue
        value = ctx.params[name] if name in ctx.params else _kept(name)
        for one in value if isinstance(value, tuple | list) else (value,):
            yield from _spell(parameter, one)


def _spell(parameter: click.Parameter, value: object) -> tuple[str, ...]:
    if not isinstance(parameter, click.Option):
        return (str(value),)
    spelling = max(parameter.opts, key=len)
    return (spelling,) if parameter.is_flag else (spelling, _written(str(parameter.name), value))


def _written(name: str, value: object) -> str:
    """As the option would be given to mean this value."""
    if isinstance(value, bytes):
        return value.hex()
    match name:
        case "length" if isinstance(value, int):
            return f"{value // 1_000}s"
        case "overlap_ms":
            return f"{value}ms"
        case "expires_at" | "activates_at":
            return (moments.show(value) if isinstance(value, int) else None) or "never"
        case _:
            return str(value)
