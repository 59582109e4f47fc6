"""What the documentation promises about itself: nothing that can be set, called or measured is missing in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace, UnionType
from typing import Annotated, Any, TypeGuard, Union, get_args, get_origin

import click
import msgspec
import pytest

from gateway import settings
from gateway.cli import cli
from gateway.runtime import Gateway
from gateway.settings.values import Settings
from gateway.trace import Trace
from policies import actions
from policies.approvals import ApprovalRule, BreakGlassRule
from policies.document import PermissionRule, Role, Tier

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "gateway" / "demo"
NOT_TABLES = {"file", "policies"}


def is_struct(kind: Any) -> TypeGuard[type[msgspec.Struct]]:  # noqa: ANN401  any annotation
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def structs_in(kind: Any) -> Iterator[tuple[type[msgspec.Struct], bool]]:  # noqa: ANN401  any annotation
    """The tables in an annotation, and whether they have names of their own."""
    if is_struct(kind):
        yield kind, False
    elif get_origin(kind) is dict:
        if is_struct(get_args(kind)[1]):
            yield get_args(kind)[1], True
    elif get_origin(kind) in {tuple, Union, UnionType, Annotated}:
        for part in get_args(kind):
            yield from structs_in(part)


def tables(kind: type[msgspec.Struct], place: str = "") -> Iterator[tuple[str, type[msgspec.Struct]]]:
    """Every table below this one, by its place in the file."""
    for field in msgspec.structs.fields(kind):
        if field.name in NOT_TABLES:
            continue
        for table, named in structs_in(field.type):
            below = f"{place}{field.name}" + (".NAME" if named else "")
            yield below, table
            yield from tables(table, f"{below}.")


Tables = dict[str, type[msgspec.Struct]]
TABLES: Tables = dict(tables(Settings))
POLICY_TABLES: Tables = {
    'permissions."SCOPE:ACTION"': PermissionRule,
    "roles.NAME": Role,
    "tiers.NAME": Tier,
    "approvals": ApprovalRule,
    "break_glass": BreakGlassRule,
}
KEYS = [
    (place, field.name)
    for place, table in (TABLES | POLICY_TABLES).items()
    for field in msgspec.structs.fields(table)
]


def sections(page: str) -> dict[str, str]:
    """What stands under each heading of a page."""
    pieces = re.split(r"^#+ (.+)$", (ROOT / "docs" / page).read_text(), flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def documented_keys() -> dict[tuple[str, str], str]:
    """The default of each key, as docs/configuration.md tells it, by table and key."""
    return {
        (heading.strip("[]"), key): default
        for heading, text in sections("configuration.md").items()
        for key, default in re.findall(r"^\| `(\w+)` \| ([^|]+) \|", text, re.MULTILINE)
        if heading.startswith("[")
    }


def as_toml(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    if field.default is None:
        return "none"
    default = {} if isinstance(field.default, msgspec.Struct) else field.default
    return f"`{msgspec.json.encode(default).decode()}`"


def test_the_tables_are_found_by_reflection() -> None:
    """The tests below look at something."""
    assert {"service", "redis.tls", "limits.NAME", "upstreams.NAME.tls", "routes.timeouts"} <= TABLES.keys()
    assert len(KEYS) > 80


@pytest.mark.parametrize(("table", "key"), KEYS)
def test_every_key_is_documented(table: str, key: str) -> None:
    """An operator finds every key under the heading of its table."""
    assert (table, key) in documented_keys()


def test_no_documented_key_is_unknown() -> None:
    """A key that is gone is gone from the page, too."""
    assert documented_keys().keys() - set(KEYS) == set()


@pytest.mark.parametrize(("table", "key"), [key for key in KEYS if key[0] != "tiers.NAME"])
def test_every_documented_default_is_the_real_one(table: str, key: str) -> None:
    """Defaults are written once in the code and told once on the page."""
    field = {one.name: one for one in msgspec.structs.fields((TABLES | POLICY_TABLES)[table])}[key]
    assert documented_keys()[table, key] == as_toml(field)


def demo_blocks() -> dict[str, str]:
    """The demo's configuration by the first name of each table, commented-out tables included."""
    text = (DEMO / "portreeve.toml").read_text()
    pieces = re.split(r"^(?:# )?\[+([a-z_]+)[^\]\n]*\]+.*$", text, flags=re.MULTILINE)
    blocks: dict[str, str] = {}
    for name, block in zip(pieces[1::2], pieces[2::2], strict=True):
        blocks[name] = blocks.get(name, "") + block
    return blocks


@pytest.mark.parametrize(("table", "key"), [key for key in KEYS if key[0] in TABLES])
def test_every_key_stands_in_the_demo_configuration(table: str, key: str) -> None:
    """The demo's file is the example to copy from."""
    assert re.search(rf"\b{key} = ", demo_blocks()[table.partition(".")[0]])


def commands(group: click.Group, name: str = "portreeve") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for part in group.list_commands(context):
        command = group.get_command(context, part)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {part}")
        else:
            yield f"{name} {part}", command


COMMANDS = dict(commands(cli))


def documented_commands() -> dict[str, str]:
    """What docs/command-line.md says of each command that is named in a heading."""
    return {
        name: text
        for heading, text in sections("command-line.md").items()
        for name in re.findall(r"`(portreeve [a-z -]+)`", heading)
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name: str) -> None:
    """Every command has a heading, and every option of it is named below it or where all options are."""
    pages = sections("command-line.md")
    text = pages["Everywhere"] + documented_commands()[name] + pages["Requests"] + pages["Partners and keys"]
    options = [parameter for parameter in COMMANDS[name].params if isinstance(parameter, click.Option)]
    for option in options:
        spelling = max(option.opts, key=len)
        assert re.search(rf"{spelling}\b", text), spelling


def test_no_documented_command_is_unknown() -> None:
    """A command that is gone is gone from the page, too."""
    assert documented_commands().keys() - COMMANDS.keys() == set()


def anchor(heading: str) -> str:
    """As the usual renderers make one of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", [page.name for page in (ROOT / "docs").glob("*.md")])
def test_links_lead_to_headings_that_are_there(page: str) -> None:
    """A link into a page is no use when its heading has been renamed."""
    links = re.findall(r"\]\(([a-z-]+\.md)?#([^)]+)\)", (ROOT / "docs" / page).read_text())
    missing = [
        fragment
        for target, fragment in links
        if fragment not in {anchor(heading) for heading in sections(target or page)}
    ]
    assert missing == []


def metric_names() -> list[str]:
    gateway = Gateway(settings.load(DEMO / "portreeve.toml"))
    gateway.directory = SimpleNamespace(age_ms=int, revision=0)  # type: ignore[assignment]  # what gauges read
    gateway.data_keys = SimpleNamespace(degraded=False, failures=0)  # type: ignore[assignment]  # the same
    families = gateway.metrics.collect()
    return [f"{one.name}_total" if one.type == "counter" else one.name for one in families]


@pytest.mark.parametrize("name", metric_names())
def test_every_metric_is_documented(name: str) -> None:
    """An operator finds in docs/deploy.md what each metric is to be alerted on."""
    assert f"| `{name}` |" in sections("deploy.md")["What to alert on"]


@pytest.mark.parametrize("field", ["node", *Trace.__struct_fields__])
def test_every_field_of_the_request_log_is_documented(field: str) -> None:
    """An operator finds in docs/deploy.md what each field of a line is."""
    rows = re.findall(r"^\| (`.*?) \|", sections("deploy.md")["The request log"], re.MULTILINE)
    assert f"`{field}`" in " ".join(rows)


def test_every_action_that_a_rule_can_name_is_documented() -> None:
    """Whoever writes a rule finds its name, and no name that is gone."""
    text = sections("approvals.md")["What needs a second person"]
    named = set(re.findall(r"`([a-z-]+\.[a-z-]+|break-glass)`", text))
    assert named == actions.ALL
