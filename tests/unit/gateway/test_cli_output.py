"""Tables show what is stored, and nothing that is stored can do more than be shown."""

import pytest

from gateway.cli import output


def test_no_cell_speaks_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters and markup out of labels and reasons come out as plain text."""
    output.print_table(("label",), [("[bold red]x[/] \x1b[2J\r\n\u202e",)])
    shown = capsys.readouterr().out
    assert "[bold red]x[/]" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert shown.count("\n") == 2


def test_a_long_cell_stays_on_one_line_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """What is cut out of a table by a script is whole."""
    output.print_table(("a", "b"), [("x" * 300, "y" * 300)])
    assert "x" * 300 in capsys.readouterr().out


def test_missing_and_listed_values_read_naturally(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is a dash, several are a list, a flag is yes or no."""
    output.print_fields({"expires_at": None, "roles": ("a", "b"), "cidrs": (), "frozen": True, "old": False})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["expires", "at", "-"],
        ["roles", "a,", "b"],
        ["cidrs", "-"],
        ["frozen", "yes"],
        ["old", "no"],
    ]


def test_what_is_nested_reads_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """As an approval tells what wraps which data key; control characters are as harmless in there."""
    output.print_fields(
        {"wrapped_by": {"dk_1": ["a", "b"]}, "ended": [{"version": 1}], "odd": {"a": "\x9b2J"}}
    )
    shown = capsys.readouterr().out
    assert '{"dk_1": ["a", "b"]}' in shown
    assert '{"version": 1}' in shown
    assert "\x9b" not in shown
