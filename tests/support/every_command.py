"""Every command that there is, out of the parser itself, so that a new one is asked as all others are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from gateway import cli

# What never ends by itself, and what acts on no store.
_LEFT_OUT = {("serve",), ("demo",)}
NOTHING: Mapping[str, str] = MappingProxyType({})


def names() -> list[tuple[str, ...]]:
    return [path for path, _ in _leaves(cli.cli, ()) if path not in _LEFT_OUT]


def get(path: tuple[str, ...]) -> click.Command:
    return dict(_leaves(cli.cli, ()))[path]


def fill(
    path: tuple[str, ...], text: str, *, everywhere: str | None = None, known: Mapping[str, str] = NOTHING
) -> list[str]:
    """The command with all that it takes: `text` wherever any text does, and in the parameter named `everywhere`.
    `known` are the values of parameters, by name, that take no text at all or not any text.
    """
    command, options, arguments = get(path), [], []
    for parameter in command.params:
        name = parameter.name or ""
        if name in {"help", "config_file"}:
            continue
        value = text if name == everywhere else known.get(name) or _value(parameter.type, text)
        if not isinstance(parameter, click.Option):
            arguments.append(value)
        elif not parameter.is_flag:
            options += [parameter.opts[0], value]
        elif name == "yes":
            options.append(parameter.opts[0])
    return [*path, *options, "--", *arguments]


def choosy(path: tuple[str, ...]) -> list[str]:
    """The parameters that do not take any text."""
    found = [each for each in get(path).params if not isinstance(each.type, click.types.StringParamType)]
    named = [each.name for each in found if not _is_flag(each)]
    return [name for name in named if name not in {None, "help", "config_file"}]


def _leaves(group: click.Group, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        path = (*above, name)
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield path, command
        if isinstance(command, click.Group):
            yield from _leaves(command, path)


def _is_flag(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Option) and parameter.is_flag


def _value(kind: click.ParamType[Any], text: str) -> str:
    match kind:
        case click.Choice():
            return str(kind.choices[0])
        case click.IntRange() | click.types.IntParamType():
            return "1"
        case click.Path() | click.File():
            return str(Path(__file__))
        case _:
            return text
